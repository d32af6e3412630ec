"""The command line's names."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cases import for_each
from tests.cli.conftest import Outcome, Run
from tests.names.conftest import House
from tests.names.hostile import FEW, HOSTILE, LONG, REFUSED, shown

#: A shell ends an argument at NUL, so that cannot come.
REFUSED_ARGUMENTS = [name for name in REFUSED if name]


def check_refused(outcome: Outcome) -> None:
    """Refused in one line, with the remedy or what was expected."""
    assert outcome.status in (1, 2)
    assert outcome.out == ""
    told = outcome.err.removeprefix("loading\n")  # What a progress bar is where there is no terminal.
    assert told.startswith("lightvec: ")
    assert told.count("\n") == 1
    assert "SQLSTATE" not in told
    assert "defect" not in told


@for_each("name", HOSTILE, shown)
def test_init_load_and_search(house: House, run: Run, tmp_path: Path, name: str) -> None:
    column = f"{name[:20]}2"
    where = ("--url", house.url, f"--schema={name}")
    described = (f"--table={name}", "--dimensions=2", f"--column={column}:text")
    made = run("init-db", *where, *described, "--json")
    assert made.status == 0
    assert [step["name"] for step in json.loads(made.out)][1:3] == [name, name]
    assert house.made("table") == {(name, name)}
    assert house.columns(name, name) == ["id", column, "embedding"]
    again = run("init-db", *where, *described, "--json")
    assert [step["created"] for step in json.loads(again.out)] == [False] * 4

    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[column, "embedding"], ["b", "[0,1]"], ["a", "[1,0]"]])
    assert run("load", *where, "--", name, "rows.csv").status == 0
    found = run("search", *where, "--json", "--vector=[1,0]", "--vector-column=embedding", "--", name)
    assert [row[column] for row in json.loads(found.out)] == ["a", "b"]


@for_each("name", FEW, shown)
def test_models(house: House, run: Run, write_module: Callable[[str], str], name: str) -> None:
    """What --dry-run prints is what psql may run: an SQL comment in it must end where its line does."""
    module = write_module(
        f"class Doc(Model):\n    text = TextField(column_name={name!r}, index=True)\n"
        f"    embedding = VectorField(2, metric='l2')\n    class Meta:\n        table_name = {name!r}\n"
        f"        indexes = (HnswIndex('embedding', name={name[:20] + '2'!r}),)\n"
    )
    assert run("init-db", module, "--url", house.url).status == 0
    assert house.made("table") == {("public", name)}
    assert ("public", f"{name[:20]}2") in house.made("index")
    told = run("init-db", module, "--url", house.url, "--dry-run").out
    assert all(line.startswith("-- ") for line in told.splitlines())


@for_each("name", FEW, shown)
def test_a_dry_run_can_be_run(house: House, run: Run, name: str) -> None:
    told = run("init-db", "--url", house.url, f"--table={name}", "--dimensions=2", f"--schema={name}", "--dry-run")
    assert house.made("table") == set()
    house.tell(told.out)
    assert house.made("table") == {(name, name)}


@for_each("name", REFUSED_ARGUMENTS, shown)
def test_what_is_no_name(house: House, run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.jsonl").write_text('{"id": 2}')
    url = ("--url", house.url)
    check_refused(run("init-db", *url, f"--table={name}", "--dimensions=2"))
    check_refused(run("init-db", *url, "--table=plain", "--dimensions=2", f"--column={name}:text"))
    check_refused(run("init-db", *url, "--table=plain", "--dimensions=2", f"--schema={name}"))
    for command in (["load", *url], ["search", *url, "--vector=[1]"]):
        files = ["rows.jsonl"] if command[0] == "load" else []
        check_refused(run(*command, "--", name, *files))
        check_refused(run(*command, f"--schema={name}", "--", "untouched", *files))
    check_refused(run("init-db", "--url", f"dbname='{name}' host=/nonexistent", "--table=plain", "--dimensions=2"))
    assert house.made("table") == set()


@pytest.mark.parametrize("name", ["a:b:c", "a:", "a:text; DROP TABLE untouched", ":text", "a", "a:int)"])
def test_a_columns_type_is_one_of_a_list(house: House, run: Run, name: str) -> None:
    check_refused(run("init-db", "--url", house.url, "--table=plain", "--dimensions=2", f"--column={name}"))


@pytest.mark.parametrize("option", ["--table=", "--schema=", "--url="])
def test_an_empty_name(house: House, run: Run, option: str) -> None:
    outcome = run("init-db", "--url", house.url, "--table=plain", "--dimensions=2", option)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].endswith("expected something, got an empty text")


@for_each("name", FEW, shown)
def test_names_that_are_not_there(house: House, run: Run, tmp_path: Path, name: str) -> None:
    house.run("CREATE TABLE plain (id int PRIMARY KEY, embedding vector(2))")
    url = ("--url", house.url)
    (tmp_path / "rows.jsonl").write_text(json.dumps({name: 2}), encoding="utf-8")
    check_refused(run("load", *url, "--", "plain", "rows.jsonl"))
    check_refused(run("load", *url, "--", name, "rows.jsonl"))
    check_refused(run("search", *url, "--vector=[1,0]", f"--vector-column={name}", "plain"))
    check_refused(run("search", *url, "--vector=[1,0]", f"--metric={name}", "plain"))
    check_refused(run("search", *url, f"--like={name}", "plain"))
    check_refused(run("init-db", *url, f"--metric={name}", "--table=other", "--dimensions=2"))
    check_refused(run("init-db", *url, "--", f"os:{name}"))


@for_each("name", LONG, shown)
def test_a_heading_that_begins_as_a_column(house: House, run: Run, tmp_path: Path, name: str) -> None:
    house.run("CREATE TABLE plain (%I int)", name)
    (tmp_path / "rows.jsonl").write_text(json.dumps({name: 2}), encoding="utf-8")
    check_refused(run("load", "--url", house.url, "plain", "rows.jsonl"))
