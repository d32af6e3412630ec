"""The function from the zip file, on a bare interpreter and a real server: it answers, whatever happens to it."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.aws_lambda.conftest import Shop, environment, glosses
from tests.aws_lambda.function import RUNTIME, Answer, Function, event

SEARCH = event("url_search")
VECTOR = json.loads(SEARCH["body"])["vector"]


def nearest(k: int) -> list[str]:
    """What is nearest, found without a database."""
    documents = list(glosses(300))
    matrix = np.array([document["embedding"] for document in documents])
    scores = matrix @ np.array(VECTOR) / np.linalg.norm(matrix, axis=1)
    return [str(documents[place]["id"]) for place in np.argsort(-scores)[:k]]


def assert_right(answer: Answer) -> None:
    assert (answer.status, answer.ids) == (200, nearest(3)), answer


def assert_refused(answer: Answer, status: int, words: str) -> None:
    """One sentence, and nothing else."""
    assert answer.status == status, answer
    assert [*answer.body] == ["error"]
    assert words in answer.body["error"]
    assert "\n" not in answer.body["error"]


# What it is there for


def test_only_what_is_in_the_zip_file_is_loaded(function: Function) -> None:
    assert function.foreign == []


@pytest.mark.parametrize("name", ["url_search", "api_search_base64"])
def test_search(function: Function, name: str) -> None:
    answer = function.invoke(event(name))
    assert_right(answer)
    scores = [document["score"] for document in answer.body["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert all(document["title"] for document in answer.body["documents"])


def test_search_with_a_filter(function: Function) -> None:
    best, *others = nearest(300)
    for filters, expected in (
        ({}, [best, *others[:2]]),
        ({"id": {"$ne": best}}, others[:3]),
        ({"not": {"id": {"in": [best, others[1]]}}, "title": {"exists": True}}, [others[0], *others[2:4]]),
        ({"title": "'; DROP TABLE document; --"}, []),
    ):
        answer = function.invoke(event("url_search", {"vector": VECTOR, "k": 3, "filter": filters}))
        assert (answer.status, answer.ids) == (200, expected), answer


def test_upsert_twice_is_once(function: Function, shop: Shop) -> None:
    documents = json.loads(event("api_upsert")["body"])["documents"]
    renamed = [document | {"title": "first"} for document in documents]
    again = [*renamed, documents[0] | {"title": "last"}]
    for body in ({"documents": renamed}, {"documents": again}):
        answer = function.invoke(event("api_upsert", body))
        assert (answer.status, answer.body) == (200, {"written": 3})
    with shop.database() as admin:
        rows = admin.run("SELECT title FROM document WHERE id = ANY(:ids)", ids=[row["id"] for row in documents])
        assert sorted(rows or []) == [["first"], ["first"], ["last"]]
        assert admin.run("SELECT count(*) FROM document") == [[300]]
    assert function.invoke(event("api_upsert")).status == 200


# What callers get wrong


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "a body of JSON"),
        ("", "a body of JSON"),
        ("[" * 100_000, "a body of JSON"),
        ([1], "a JSON object"),
        ({}, "vector as a list of numbers"),
        ({"vector": "abc"}, "vector as a list of numbers"),
        ({"vector": [1, 2, 3]}, "Document.embedding expected 384 dimensions, not 3"),
        ({"vector": []}, "dimension"),
        ({"vector": ["a"] * 384}, "number"),
        ({"vector": [float("nan")] * 384}, "a finite number"),
        ({"vector": VECTOR, "k": 0}, "k as a whole number from 1 to 100"),
        ({"vector": VECTOR, "k": True}, "k as a whole number from 1 to 100"),
        ({"vector": VECTOR, "k": [1]}, "k as a whole number from 1 to 100"),
        ({"vector": VECTOR, "filter": None}, "filter: expected an object of conditions"),
        ({"vector": VECTOR, "filter": {"embedding": VECTOR}}, "filter: expected one of id, title"),
        ({"vector": VECTOR, "filter": {"or": [{"title": {"like": 7}}]}}, "filter.or[0].title.like: expected a pattern"),
        ({"vector": VECTOR, "filter": {"title": "a\0"}}, "filter.title: expected a text without NUL"),
        ({"vector": VECTOR, "filter": {"title": "\ud800"}}, "filter.title: expected a text without NUL"),
    ],
)
def test_a_search_that_cannot_be(function: Function, body: Any, words: str) -> None:
    assert_refused(function.invoke(event("url_search", body)), 400, words)
    assert_right(function.invoke(SEARCH))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"id": 1, "title": "one", "embedding": VECTOR}, "an id and a title that are texts"),
        ("one", "an id and a title that are texts"),
        ({"id": "one", "title": "one", "embedding": [1]}, "expected 384 dimensions, not 1"),
        ({"id": "one", "title": "a\0b", "embedding": VECTOR}, "NUL"),
    ],
)
def test_documents_that_cannot_be(function: Function, shop: Shop, document: Any, words: str) -> None:
    good = {"id": "good", "title": "good", "embedding": VECTOR}
    assert_refused(function.invoke(event("api_upsert", {"documents": [good, document]})), 400, words)
    with shop.database() as admin:
        assert admin.run("SELECT count(*) FROM document") == [[300]]


def test_bodies_that_are_no_text(function: Function) -> None:
    for data in ("not base64!", base64.b64encode(b"\xff\xfe\x00").decode()):
        broken = SEARCH | {"body": data, "isBase64Encoded": True}
        assert_refused(function.invoke(broken), 400, "a body of JSON")
    without = {name: value for name, value in SEARCH.items() if name != "body"}
    assert_refused(function.invoke(without), 400, "a body of JSON")


def test_requests_of_another_kind(function: Function) -> None:
    assert_refused(function.invoke(event("scheduled")), 400, "payload format 2.0")
    assert_refused(function.invoke(SEARCH | {"rawPath": "/"}), 404, "POST /search or PUT /documents, got POST /")


# What happens to connections


def test_invocations_share_a_connection(function: Function, shop: Shop) -> None:
    assert_right(function.invoke(SEARCH))
    before = shop.backends()
    assert len(before) == 1
    assert_right(function.invoke(SEARCH))
    assert shop.backends() == before


def test_a_thawed_function_whose_connection_was_ended(function: Function, shop: Shop) -> None:
    assert_right(function.invoke(SEARCH))
    before = shop.backends()
    function.freeze()
    shop.terminate()
    function.thaw()
    assert_right(function.invoke(SEARCH))
    assert shop.backends() != before


def test_a_thawed_function_whose_server_was_restarted(function: Function, shop: Shop) -> None:
    assert_right(function.invoke(SEARCH))
    function.freeze()
    shop.stop()
    shop.start()
    function.thaw()
    assert_right(function.invoke(SEARCH))


def test_the_database_away(function: Function, shop: Shop) -> None:
    assert_right(function.invoke(SEARCH))
    shop.stop()
    try:
        for _ in range(2):
            assert_refused(function.invoke(SEARCH), 503, "cannot be reached")
    finally:
        shop.start()
    assert_right(function.invoke(SEARCH))


def test_a_wrong_password(shop: Shop, unpacked: Path) -> None:
    with Function(environment(shop, PGPASSWORD="verysecret"), unpacked) as function:
        assert_refused(function.invoke(SEARCH), 503, "cannot be reached")
    assert "password authentication failed" in function.log
    assert "verysecret" not in function.log


def test_no_tables(shop: Shop, unpacked: Path) -> None:
    with Function(environment(shop, PGDATABASE="postgres"), unpacked) as function:
        assert_refused(function.invoke(SEARCH), 500, "is not set up")
    assert "Traceback" in function.log


# What happens when time runs out


def test_a_lock_that_is_held(function: Function, shop: Shop) -> None:
    assert_right(function.invoke(SEARCH))
    before = shop.backends()
    with shop.database() as other:
        other.run("BEGIN; LOCK TABLE document")
        answer = function.invoke(SEARCH, milliseconds=3_000)
        assert_refused(answer, 504, "did not answer in time")
        assert answer.seconds < 3
    assert_right(function.invoke(SEARCH))
    assert shop.backends() == before


def test_a_server_that_falls_silent(function: Function, shop: Shop) -> None:
    """As when a gateway has forgotten the connection: what is sent is lost, and nothing says so."""
    assert_right(function.invoke(SEARCH))
    (pid,) = shop.backends()
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = function.invoke(SEARCH, milliseconds=2_000)
        assert_refused(answer, 504, "did not answer in time")
        assert answer.seconds < 2
        assert_right(function.invoke(SEARCH))
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_accepts_and_says_nothing(shop: Shop, unpacked: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        elsewhere = environment(shop, PGPORT=str(silent.getsockname()[1]))
        with Function(elsewhere, unpacked) as function:
            answer = function.invoke(SEARCH, milliseconds=1_500)
    assert_refused(answer, 504, "did not answer in time")
    assert answer.seconds < 1.5


def test_no_time_at_all(function: Function) -> None:
    assert_refused(function.invoke(SEARCH, milliseconds=100), 504, "did not answer in time")
    assert_right(function.invoke(SEARCH))


# Tokens


class Signer:
    """Stands in for the boto3 of Lambda's runtime: what it signs is in a file, and each call is noted in another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._token, self._calls = folder / "token", folder / "calls"
        self._calls.touch()
        (folder / "boto3.py").write_text(
            "class client:\n"
            "    def __init__(self, service):\n"
            "        assert service == 'rds'\n"
            "    def generate_db_auth_token(self, **where):\n"
            f"        with open({str(self._calls)!r}, 'a') as calls: print(where, file=calls)\n"
            f"        return open({str(self._token)!r}).read()\n",
            encoding="utf-8",
        )

    def sign(self, token: str) -> None:
        self._token.write_text(token, encoding="utf-8")

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def signer(shop: Shop, tmp_path: Path) -> Iterator[Signer]:
    yield Signer(tmp_path)
    shop.set_password("first")


def iam(shop: Shop) -> dict[str, str]:
    given = environment(shop, DB_AUTH="iam")
    del given["PGPASSWORD"]
    return given


def test_a_token_is_asked_for_at_each_new_connection(shop: Shop, unpacked: Path, signer: Signer) -> None:
    with Function(iam(shop), unpacked, signer.folder) as function:
        for number in (1, 2):
            signer.sign(f"token-{number}")
            shop.set_password(f"token-{number}")
            for _ in range(2):
                assert_right(function.invoke(SEARCH))
            assert len(signer.calls) == number
            shop.terminate()
    asked = {"DBHostname": "127.0.0.1", "Port": shop.port, "DBUsername": "app", "Region": "eu-central-1"}
    assert signer.calls == [str(asked)] * 2


def test_a_token_that_nobody_can_sign(shop: Shop, unpacked: Path) -> None:
    with Function(iam(shop), unpacked) as function:
        assert_refused(function.invoke(SEARCH), 503, "cannot be reached")
    assert "boto3" in function.log


# The scheduled function


class _Embedder(BaseHTTPRequestHandler):
    """Gives each text a vector of its length."""

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["texts"]
        self.send_response(500 if "bad" in texts else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"vectors": [[len(text), *[1] * 383] for text in texts]}).encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


def run_fill(shop: Shop, unpacked: Path) -> subprocess.CompletedProcess[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Embedder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        code = (
            f"import sys; sys.path[:0] = [{str(unpacked)!r}, {str(RUNTIME.parent)!r}]\n"
            "from runtime import Context; from function.fill import handler; print(handler({}, Context(20_000)))"
        )
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            env=environment(shop, EMBEDDER_URL=url, no_proxy="*"),
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
        return done


def test_the_schedule_embeds_what_came_without(function: Function, shop: Shop, unpacked: Path) -> None:
    new = [{"id": f"new {number}", "title": f"new title {number}"} for number in range(40)]
    assert function.invoke(event("api_upsert", {"documents": new})).body == {"written": 40}
    try:
        done = run_fill(shop, unpacked)
        assert done.stdout == "{'written': 40, 'stopped': None}\n", done.stderr
        bad = [{"id": "new 1", "title": "bad"}]
        assert function.invoke(event("api_upsert", {"documents": bad})).status == 200
        assert "1 documents failed, 0 written" in run_fill(shop, unpacked).stderr
    finally:
        with shop.database() as admin:
            admin.run("DELETE FROM document WHERE id LIKE 'new %'")
