"""search: rows out."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightvec.peewee import Pg8000Database
from lightvec.peewee.embedding_source import source_hash
from lightvec.peewee.reflect import model_of
from lightvec.pg8000 import connect
from tests.cli.conftest import Run
from tests.cli.rows import ROWS, contents, json_lines
from tests.names.hostile import FEW


@pytest.fixture
def filled(run: Run, empty_url: str, tmp_path: Path) -> str:
    """A database with the table ``doc`` and its rows."""
    where = ("--url", empty_url)
    assert run("init-db", *where, "--table", "doc", "--dimensions", 3, "--column", "title:text").status == 0
    (tmp_path / "rows.jsonl").write_bytes(json_lines(ROWS))
    assert run("load", "doc", "rows.jsonl", *where).status == 0
    return empty_url


def test_by_vector(run: Run, filled: str) -> None:
    outcome = run("search", "doc", "--vector", "[1,0.1,0]", "--url", filled, "--json")
    rows = json.loads(outcome.out)
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert rows[0]["score"] == pytest.approx(1 / 1.01**0.5)
    assert rows[0] == {"score": rows[0]["score"], "id": 1, "title": "a"}
    assert run("search", "doc", "--vector", "[1,0.1,0]", "--url", filled, "-k", 1, "--json").out.count("score") == 1


def test_the_table_for_people(run: Run, filled: str) -> None:
    lines = run("search", "doc", "--vector", "[0,1,0]", "--url", filled).out.splitlines()
    assert lines[0].split() == ["score", "id", "title"]
    assert lines[1] == '1.0000  2   quote " and, comma'
    assert len(lines) == 4


def test_like_another_row(run: Run, filled: str) -> None:
    rows = json.loads(run("search", "doc", "--like", 2, "--url", filled, "--json").out)
    assert [row["id"] for row in rows] == [3, 1]


def test_vector_from_a_file_and_from_standard_input(
    run: Run, filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v.txt").write_text("[0, 0.6, 0.8]\n")
    np.save(tmp_path / "v.npy", np.array([[0, 0.6, 0.8]]))
    monkeypatch.setattr("sys.stdin", io.StringIO("[0, 0.6, 0.8]\n"))
    for given in ("@v.txt", "@v.npy", "-"):
        rows = json.loads(run("search", "doc", "--vector", given, "--url", filled, "--json").out)
        assert rows[0]["id"] == 3


def test_metric_and_exact(run: Run, filled: str) -> None:
    rows = json.loads(
        run("search", "doc", "--vector", "[2,0,0]", "--metric", "l2", "--exact", "--url", filled, "--json").out
    )
    assert rows[0]["score"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ((), 2, "--vector or --like"),
        (("--vector", "[1]", "--like", "1"), 2, "--vector or --like"),
        (("--vector", "[1,2]"), 1, "expected 3 dimensions, not 2"),
        (("--vector", "[1,2,x]"), 1, "from_text expected"),
        (("--vector", "[nan,1,1]"), 1, "expected"),
        (("--vector", "@missing.txt"), 2, "missing.txt"),
        (("--vector", "@."), 2, "cannot be read: Is a directory"),
        (("--vector", "@latin.txt"), 2, "latin.txt: expected a vector as text"),
        (("--like", "77"), 1, "has no row 77"),
        (("--like", "1; DROP TABLE doc"), 1, "has no row"),
        (("--vector", "[1,2,3]", "--metric", "far"), 2, "'far' is not a metric"),
        (("--vector", "[1,2,3]", "--vector-column", "title"), 1, "are: embedding; title is none of them"),
        (("--vector", "[1,2,3]", "--schema", ""), 2, "got an empty text"),
        (("--vector", "[1,2,3]", "-k", "0"), 2, "0 is not in the range"),
    ],
)
def test_searches_that_cannot_be(
    run: Run, filled: str, tmp_path: Path, arguments: tuple[str, ...], status: int, told: str
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    outcome = run("search", "doc", *arguments, "--url", filled)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err
    assert len(contents(filled)) == 3


def test_columns_named_as_something_else_is(run: Run, empty_url: str) -> None:
    names = ("Meta", "save", "save_", "score", "score_", "distance", "_dirty", "embedding_")
    columns = [word for name in names for word in ("--column", f"{name}:text")]
    run("init-db", "--url", empty_url, "--table", "odd", "--dimensions", 2, *columns)
    row = {name: f"its {name}" for name in names}
    with connect(empty_url) as conn:
        listed = ", ".join(f'"{name}"' for name in names)
        values = ", ".join(f"'its {name}'" for name in names)
        conn.run(f"INSERT INTO odd ({listed}, embedding) VALUES ({values}, '[1,0]')")
    found = json.loads(run("search", "odd", "--vector", "[1,0]", "--url", empty_url, "--json").out)
    assert found == [{"score": 1.0, "id": 1, **{k: v for k, v in row.items() if k != "score"}, "score__": "its score"}]
    table = run("search", "odd", "--vector", "[1,0]", "--url", empty_url).out.splitlines()
    assert table[0].split() == ["score", "id", "Meta", "save", "save_", "score__", "score_", *names[5:]]
    assert table[1].startswith("1.0000")


def test_only_a_vector_column(run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE bare (e vector(1)); INSERT INTO bare VALUES ('[1]')")
    assert json.loads(run("search", "bare", "--vector", "[1]", "--url", empty_url, "--json").out) == [{"score": 1.0}]


@pytest.mark.parametrize("key", ["", ", PRIMARY KEY (a, b)"])
def test_like_needs_a_key_of_one_column(run: Run, empty_url: str, key: str) -> None:
    with connect(empty_url) as conn:
        conn.run(f"CREATE EXTENSION vector; CREATE TABLE t (a int, b int, e vector(1){key})")
        conn.run("INSERT INTO t VALUES (1, 2, '[1]')")
    outcome = run("search", "t", "--like", 1, "--url", empty_url)
    assert (outcome.status, "primary key" in outcome.err) == (1, True)
    assert run("search", "t", "--vector", "[1]", "--url", empty_url).status == 0


def test_json_output_is_json(run: Run, empty_url: str) -> None:
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE t (f float8, b bytea, j jsonb, n numeric, e vector(2))")
        conn.run(
            "INSERT INTO t VALUES ('NaN', '\\xff00', '{\"a\": 1}', 1.50, '[0,0]'), ('-inf', NULL, '[]', 2, '[1,0]')"
        )
    outcome = run("search", "t", "--vector", "[1,0]", "--url", empty_url, "--json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    rows = sorted(json.loads(outcome.out, parse_constant=refuse), key=lambda row: row["n"])
    assert rows[0] == {"score": None, "f": None, "b": "ff00", "j": {"a": 1}, "n": "1.50"}
    assert rows[1] == {"score": 1.0, "f": None, "b": None, "j": [], "n": "2"}


def test_the_help_names_the_measure(run: Run) -> None:
    assert "called score" in run("search", "--help").out


# Which rows


@pytest.fixture
def words(empty_url: str) -> str:
    """A database with a table of words."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector")
        conn.run(
            "CREATE TABLE word (id int PRIMARY KEY, word text, kind text, n int, day date, j jsonb, "
            'e vector(2), "a b = c" text, "a" text)'
        )
        conn.run(
            "INSERT INTO word SELECT n, w, k, n, DATE '2024-01-01' + n, '{}', ('[1,' || n || ']')::vector, w, k FROM "
            "(VALUES (1, 'moby', 'noun.person'), (2, 'moby dick', 'noun.animal'), (3, 'whale', 'noun.animal'), "
            "(4, 'it''s', 'verb'), (5, NULL, NULL), (6, 'twice', ''), (7, 'twice', '%'), (8, 'moby%', '\"')) v(n, w, k)"
        )
        conn.run("INSERT INTO word (id, word) VALUES (9, 'no vector')")
    return empty_url


def ids(run: Run, url: str, *arguments: object) -> list[int]:
    outcome = run("search", "word", "--vector", "[1,0]", "-k", 9, "--url", url, "--json", *arguments)
    assert outcome.status == 0, outcome.err
    return sorted(row["id"] for row in json.loads(outcome.out))


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (("kind = noun.animal",), [2, 3]),
        (("kind=noun.animal",), [2, 3]),
        (("  kind   =   noun.animal  ",), [2, 3]),
        (("kind = 'noun.animal'",), [2, 3]),
        (('kind = "noun.animal"',), [2, 3]),
        (("kind != noun.animal",), [1, 4, 6, 7, 8]),
        (("kind <> noun.animal",), [1, 4, 6, 7, 8]),
        (("kind<>noun.animal",), [1, 4, 6, 7, 8]),
        (("kind == noun.animal",), [2, 3]),
        (("kind='='",), []),
        (("word != '<> x'",), [1, 2, 3, 4, 6, 7, 8]),
        (("kind = ''",), [6]),
        (("kind = %",), [7]),
        (('kind = "',), [8]),
        (("word = it's",), [4]),
        (("word = ' OR true --",), []),
        (("n <= 3",), [1, 2, 3]),
        (("n>=3", "n < 6"), [3, 4, 5]),
        (("n > 7",), [8]),
        (("day = 2024-01-03",), [2]),
        (("day < 3 Jan 2024",), [1]),
        (("word ~ ^mob",), [1, 2, 8]),
        (("n ~ [12]",), [1, 2]),
        (("word like moby%",), [1, 2, 8]),
        (("word LIKE moby\\%",), [8]),
        (("a b = c = whale",), [3]),
        (("a = verb",), [4]),
        (("n = 1", "n = 2"), []),
        (("j = {}",), [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_where(run: Run, words: str, conditions: tuple[str, ...], found: list[int]) -> None:
    arguments = [word for condition in conditions for word in ("--where", condition)]
    assert ids(run, words, *arguments) == found
    assert ids(run, words, *arguments, "--exact") == found


@pytest.mark.parametrize(
    ("condition", "status", "told"),
    [
        ("", 2, "expected COLUMN OP VALUE"),
        ("kind", 2, "expected COLUMN OP VALUE, with an OP of = != < <= > >= ~ like and a COLUMN of id, word, kind"),
        ("kind noun", 2, "expected COLUMN OP VALUE"),
        ("n =< 3", 2, "a b = c, a; =< is none (quote a value that begins so)"),
        ("n >> 3", 2, "; >> is none"),
        ("word ~* MOBY", 2, "; ~* is none"),
        ("word !~ moby", 2, "; !~ is none"),
        ("kindlike x", 2, "expected COLUMN OP VALUE"),
        ("sort = x", 2, "a COLUMN of id, word, kind, n, day, j, a b = c, a"),
        ("e = [1,2]", 2, "expected COLUMN OP VALUE"),
        ("1 = 1", 2, "expected COLUMN OP VALUE"),
        ("true", 2, "expected COLUMN OP VALUE"),
        ("word = 'x' OR 1 = 1; DROP TABLE word", 0, ""),
        ("n = many", 1, "invalid input syntax for type integer"),
        ("day = soon", 1, "invalid input syntax for type date"),
        ("word ~ (", 1, "invalid regular expression"),
        ("word = a\x00b", 1, "NUL"),
    ],
)
def test_where_that_cannot_be(run: Run, words: str, condition: str, status: int, told: str) -> None:
    outcome = run("search", "word", "--vector", "[1,0]", "--where", condition, "--url", words)
    assert outcome.status == status
    assert told in outcome.err
    assert "defect" not in outcome.err
    with connect(words) as conn:
        assert conn.run("SELECT count(*) FROM word") == [[9]]


def test_by_the_text_of_a_row(run: Run, words: str) -> None:
    """The row whose text it is, before those that begin with it; itself it is not among what is found."""
    where = ("--text-column", "word", "--url", words, "--json", "-k", 9)
    rows = json.loads(run("search", "word", "--text", "moby", *where).out)
    assert [row["id"] for row in rows] == [2, 3, 4, 5, 6, 7, 8]
    assert json.loads(run("search", "word", "--text", "wha", *where).out)[0]["id"] in (2, 4)
    assert json.loads(run("search", "word", "--text", "it's", *where).out)
    assert json.loads(run("search", "word", "--text", "moby%", *where).out)[0]["id"] == 7


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("--text", "mo", "--text-column", "word"), 1, "several rows begin with 'mo', so give more of its text"),
        (("--text", "mo", "--text-column", "word"), 1, "its text: 'moby', 'moby dick', 'moby%'"),
        (("--text", "twice", "--text-column", "word"), 1, "several rows have the text 'twice', so search with --like"),
        (("--text", "%", "--text-column", "word"), 1, "no row whose word is '%' or begins with it"),
        (("--text", "no vector", "--text-column", "word"), 1, "the row 'no vector' of word has no embedding"),
        (("--text", "x"), 1, "are: word, kind, a b = c, a; name one with --text-column"),
        (("--text", "x", "--text-column", "sort"), 1, "the table word has no column sort: it has id, word"),
        (("--text-column", "word", "--like", "1"), 2, "--text-column says where --text looks"),
        (("--text", "x", "--like", "1"), 2, "one of --vector or --like or --text"),
        (("--like", "1", "--column", "sort"), 1, "the table word has no column sort: it has id, word"),
        (("--like", "1", "--ef-search", "0"), 2, "expected ef_search from 1 to 1,000, got 0"),
        (("--like", "1", "--probes", "99999"), 2, "expected probes from 1 to 32,768, got 99999"),
    ],
)
def test_other_searches_that_cannot_be(
    run: Run, words: str, arguments: tuple[str, ...], status: int, told: str
) -> None:
    outcome = run("search", "word", *arguments, "--url", words)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err


def test_the_only_column_of_text(run: Run, filled: str) -> None:
    assert json.loads(run("search", "doc", "--text", "a", "--url", filled, "--json", "-k", 1).out)[0]["id"] in (2, 3)


# What is shown


def test_the_columns_that_are_shown(run: Run, words: str) -> None:
    arguments = ("--vector", "[1,1]", "-k", 1, "--column", "word", "--column", "e", "--column", "word", "--url", words)
    assert json.loads(run("search", "word", *arguments, "--json").out) == [{"score": 1.0, "word": "moby", "e": [1, 1]}]
    assert run("search", "word", *arguments).out.splitlines()[0].split() == ["score", "word", "e"]


def test_fewer_rows_than_were_asked_for(run: Run, words: str) -> None:
    short = run("search", "word", "--vector", "[1,0]", "--where", "n < 3", "--url", words)
    assert short.err.startswith("2 of 10 rows: ")
    assert "--exact" in short.err
    exact = run("search", "word", "--vector", "[1,0]", "--where", "n < 3", "--exact", "--url", words)
    assert (exact.err.startswith("2 of 10 rows: "), "--exact" in exact.err) == (True, False)
    assert run("search", "word", "--vector", "[1,0]", "-k", 2, "--url", words).err == ""


def test_an_index_that_looks_at_few_rows(run: Run, empty_url: str) -> None:
    """One list of many has fewer rows than are wanted; then the search compares with every row."""
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE t (id int, e vector(2)); SET enable_seqscan = off")
        conn.run("INSERT INTO t SELECT n, ARRAY[n % 50, n / 50]::vector FROM generate_series(1, 1000) n")
        conn.run("CREATE INDEX ON t USING ivfflat (e vector_l2_ops) WITH (lists = 100)")
        conn.run("ALTER DATABASE {} SET enable_seqscan = off".format(empty_url.partition("?")[0].rpartition("/")[2]))
    counts = [
        len(json.loads(run("search", "t", "--vector", "[1,1]", "-k", 40, *more, "--url", empty_url, "--json").out))
        for more in (("--probes", 1), ("--probes", 100))
    ]
    assert counts == [40, 40]
    assert run("search", "t", "--vector", "[1,1]", "--ef-search", 400, "--url", empty_url).status == 0


@pytest.mark.parametrize("name", FEW)
def test_hostile_names(run: Run, empty_url: str, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    with connect(empty_url) as conn:
        conn.run("CREATE EXTENSION vector; CREATE TABLE untouched ()")
        conn.run(f"CREATE TABLE {quoted} ({quoted} text, e vector(1))")
        conn.run(f"INSERT INTO {quoted} VALUES (:a, '[1]'), ('other', '[2]')", a=name)
    where = ("--url", empty_url, "--json", f"--column={name}")
    for arguments, found in (
        (("--vector=[1]", f"--where={name} = {name}"), [name]),
        (("--vector=[1]", f"--where={name} != {name}"), ["other"]),
        ((f"--text={name}", f"--text-column={name}"), ["other"]),
        (("--text=oth",), [name]),
    ):
        outcome = run("search", *where, *arguments, "--", name)
        assert outcome.status == 0, outcome.err
        assert [row[name] for row in json.loads(outcome.out)] == found
    with connect(empty_url) as conn:
        assert conn.run("SELECT count(*) FROM untouched") == [[0]]


APP = """
def embed(texts):
    assert isinstance(texts, list)
    return [[len(text), text.count("a"), 1] for text in texts]

class Client:
    def embed(self, texts):
        return (vector for vector in embed(texts))

client = Client()
number = 3

async def later(texts):
    return embed(texts)

def fail(texts):
    raise ValueError("no key\\nfor it")

def leave(texts):
    raise SystemExit("bye")
"""
for name, vectors in {
    "nothing": "None",
    "a_number": "7",
    "flat": "[1, 2, 3]",
    "two": "[[1, 2, 3], [1, 2, 3]]",
    "short": "[[1, 2]]",
    "nan": "[[1, 2, float('nan')]]",
    "none": "[None]",
    "words": "['three words here']",
}.items():
    APP += f"\ndef {name}(texts):\n    return {vectors}\n"


@pytest.fixture
def sourced(run: Run, empty_url: str, tmp_path: Path) -> str:
    """A database with the model ``Page``, whose vectors are of the model ``lengths`` and follow their text."""
    models = "from peewee import *\nfrom lightvec.peewee import *\n\nclass Page(Model):\n    body = TextField()\n"
    models += "    embedding = VectorField(3, metric='l2', model='lengths', source='body')\n"
    (tmp_path / "words_app.py").write_text(models + APP)
    assert run("init-db", "words_app", "--url", empty_url).status == 0
    return empty_url


@pytest.fixture
def pages(sourced: str) -> Iterator[str]:
    """The same with two pages, of which the second has another text than its vector was made of."""
    database = Pg8000Database(sourced)
    with database.connection_context():
        page: Any = model_of(database, "page")
        for body in ("a cat", "a lion"):
            page.insert(body=body, embedding=[len(body), 1, 1], embedding_hash=None).execute()
        page.update(embedding_hash=source_hash(page.embedding)).execute()
        page.update(body="seven elephants").where(page.id == 2).execute()
    sys.modules.pop("words_app", None)
    yield sourced
    sys.modules.pop("words_app", None)


@pytest.mark.parametrize("function", ["embed", "client.embed"])
def test_by_words(run: Run, pages: str, function: str) -> None:
    outcome = run(
        "search", "page", "a dog", "--with", f"words_app:{function}", "--metric", "l2", "--url", pages, "--json"
    )
    assert outcome.status == 0
    assert json.loads(outcome.out) == [
        {"score": 1.0, "id": 1, "body": "a cat"},
        {"score": 0.5, "id": 2, "body": "seven elephants"},
    ]


def test_by_words_fresh_rows_only(run: Run, pages: str) -> None:
    words = ("search", "page", "a dog", "--with", "words_app:embed", "--url", pages, "--json")
    assert [row["id"] for row in json.loads(run(*words, "--fresh").out)] == [1]
    assert [row["id"] for row in json.loads(run(*words, "--fresh", "--model", "lengths").out)] == [1]
    outcome = run("search", "page", "--like", 2, "--fresh", "--url", pages)
    assert (outcome.status, "elephants" in outcome.out) == (0, False)


def test_words_of_another_model(run: Run, pages: str, tmp_path: Path) -> None:
    """The function, which may cost something, is not called."""
    (tmp_path / "words_app.py").write_text("def embed(texts):\n    raise SystemExit('called')")
    outcome = run("search", "page", "a dog", "--with", "words_app:embed", "--model", "other", "--url", pages)
    assert (outcome.status, outcome.out) == (1, "")
    told = "lightvec: page.embedding holds vectors of lengths, got one of other: distances between two models mean"
    assert outcome.err.startswith(told)
    assert outcome.err.count("\n") == 1


def test_the_model_costs_no_round_trip(run: Run, pages: str, sent: list[bytes]) -> None:
    def statements(*options: str) -> int:
        sent.clear()
        assert run("search", "page", "--vector", "[1,2,3]", "--url", pages, *options).status == 0
        return len(sent)

    assert statements("--model", "lengths") == statements()


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("words_app", 2, "--with: expected package.module:function, got 'words_app'"),
        ("words_app.py:embed", 2, "expected package.module:function, got 'words_app.py:embed': write words_app"),
        ("words_app:", 2, "expected package.module:function"),
        (":embed", 2, "expected package.module:function"),
        ("no_such_app:embed", 2, "there is no module no_such_app"),
        ("words_app:embedd", 2, "the module words_app has no function embedd: did you mean embed?"),
        ("words_app:client.nothing", 2, "has no function client.nothing"),
        ("words_app:number", 2, "expected a function from a list of texts to their vectors, got a int"),
        ("words_app:fail", 1, "--with words_app:fail: the function raised ValueError: no key for it"),
        ("words_app:leave", 1, "the function raised SystemExit: bye"),
        ("words_app:later", 1, "expected a list with a vector for each of 1 texts, got a coroutine"),
        ("words_app:nothing", 1, "expected a list with a vector for each of 1 texts, got a NoneType"),
        ("words_app:a_number", 1, "got a int"),
        ("words_app:flat", 1, "expected a list with a vector for each of 1 texts, got 3"),
        ("words_app:two", 1, "got 2"),
        ("words_app:short", 1, "--with words_app:short: page.embedding expected 3 dimensions, not 2"),
        ("words_app:nan", 1, "--with words_app:nan: page.embedding: "),
        ("words_app:none", 1, "expected a list with a vector for each of 1 texts, got 0"),
        ("words_app:words", 1, "--with words_app:words: "),
    ],
)
def test_functions_that_cannot_be(run: Run, pages: str, path: str, status: int, told: str) -> None:
    outcome = run("search", "page", "a dog", "--with", path, "--url", pages)
    assert (outcome.status, outcome.out) == (status, "")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("a dog",),
        ("--with", "words_app:embed"),
        ("--vector", "[1,2,3]", "--with", "words_app:embed"),
        ("a dog", "--vector", "[1,2,3]", "--with", "words_app:embed"),
        ("a dog", "--like", "1", "--with", "words_app:embed"),
        ("a dog", "--text", "a cat", "--with", "words_app:embed"),
        ("", "--with", "words_app:embed"),
        ("a dog", "--with", ""),
    ],
)
def test_words_that_go_with_nothing(run: Run, url: str, arguments: tuple[str, ...]) -> None:
    outcome = run("search", "page", *arguments, "--url", url)
    assert (outcome.status, outcome.out) == (2, "")


def test_fresh_without_a_source(run: Run, filled: str) -> None:
    outcome = run("search", "doc", "--vector", "[1,2,3]", "--fresh", "--url", filled)
    assert (outcome.status, outcome.out) == (2, "")
    assert "doc.embedding says no text that it is made of" in outcome.err


def test_the_nearest_of_each_value(run: Run, empty_url: str) -> None:
    where = ("--url", empty_url)
    run("init-db", *where, "--table", "chunk", "--dimensions", 2, "--column", "document_id:int")
    with connect(empty_url) as conn:
        conn.run(
            "INSERT INTO chunk (document_id, embedding) "
            "SELECT n / 10, ARRAY[cos(n / 100.0), sin(n / 100.0)]::real[] FROM generate_series(0, 39) n"
        )

    def found(*options: Any) -> list[tuple[int, int]]:
        outcome = run("search", "chunk", "--vector", "[1,0]", *where, "--json", "--per", "document_id", *options)
        assert outcome.status == 0
        told.append(outcome.err)
        return [(row["document_id"], row["id"]) for row in json.loads(outcome.out)]

    told: list[str] = []
    assert found("-k", 3) == [(0, 1), (1, 11), (2, 21)]
    assert told == [""]
    assert found("-k", 4, "--candidates", 15) == [(0, 1), (1, 11)]
    assert told[1] == (
        "2 of 4 rows: the 15 candidates have no more of document_id, and there may be none; "
        "--candidates 150 takes more, --exact compares with every row\n"
    )
    assert found("-k", 5, "--exact", "--where", "document_id > 0") == [(1, 11), (2, 21), (3, 31)]
    assert told[2] == "3 of 5 rows: no other row has a vector and passes\n"
    outcome = run("search", "chunk", "--vector", "[1,0]", *where, "--per", "none")
    assert (outcome.status, outcome.out) == (1, "")
    assert "has no column none" in outcome.err
