"""A password is shown to nobody, and one that a function gives is asked for when it is needed, and for nothing else."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from peewee import PeeweeException

from lightvec.errors import LightvecError
from lightvec.peewee import Pg8000Database, PooledPg8000Database
from lightvec.pg8000 import connect, dbapi
from lightvec.pg8000.exceptions import OperationalError
from tests.tls.between import Between, answering, passing
from tests.tls.certificates import Certificate
from tests.tls.conftest import Stand
from tests.tls.postgres import DATABASE, PASSWORD, Postgres
from tests.tls.sentences import check_remedy, check_silence

#: It must look like nothing else, and stand in no line of this file as it is.
SECRET = "-".join(("qX7", "wrong", "pa55"))
#: As the environment gives bytes that are no UTF-8.
NOT_UTF8 = SECRET + "\udce9"
NEVER_UNICODE = SECRET + "\ud800"


class Token:
    """A function that gives a password, and counts."""

    def __init__(self, password: str = PASSWORD) -> None:
        self.password = password
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return self.password


# --- a function ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["direct", "pooled"])
def test_a_function_is_asked_at_each_connect(place: str, request: pytest.FixtureRequest) -> None:
    stand: Stand = request.getfixturevalue(place)
    token = Token()
    for count in (1, 2, 3):
        with connect(**stand.has(password=token)) as connection:
            for _ in range(3):
                assert connection.run("SELECT 1") == [[1]]
        assert token.asked == count


def test_a_function_is_asked_at_a_reconnect(direct: Stand, postgres: Postgres) -> None:
    token = Token()
    params = direct.has(password=token)
    database = Pg8000Database(params.pop("dbname"), **params)
    for count in (1, 2):
        row: Any = database.execute_sql("SELECT pg_backend_pid()").fetchone()
        assert token.asked == count
        terminate(postgres, row[0])
    database.close()


def terminate(postgres: Postgres, backend: int) -> None:
    with connect(postgres.admin_url) as admin:
        assert admin.run("SELECT pg_terminate_backend(:pid, 5000)", pid=backend) == [[True]]


def test_a_function_is_asked_for_each_connection_of_a_pool(direct: Stand) -> None:
    token = Token()
    params = direct.has(password=token)
    pool = PooledPg8000Database(params.pop("dbname"), max_connections=2, **params)
    for _ in range(5):
        with pool.connection_context():
            pool.execute_sql("SELECT 1")
    assert token.asked == 1
    pool.close_all()
    with pool.connection_context():
        pool.execute_sql("SELECT 1")
    assert token.asked == 2
    pool.close_all()


@pytest.mark.parametrize("user", ["me", "by_clear_password"])
def test_a_function_is_not_asked_without_tls(
    user: str, remote: str, direct: Stand, postgres: Postgres, certificates: dict[str, Certificate]
) -> None:
    token = Token()
    for certificate, sslmode in ((certificates["right"], "disable"), (None, "prefer"), (None, "allow")):
        with postgres.serving(certificate), pytest.raises(OperationalError) as caught:
            connect(**direct.has(host=remote, user=user, sslmode=sslmode, password=token))
        check_remedy(caught.value)
    assert token.asked == 0
    with connect(**direct.has(host=remote, user=user, password=token)) as connection:
        assert connection.run("SELECT 1") == [[1]]
    assert token.asked == 1


def test_a_function_is_not_asked_for_nothing(direct: Stand, postgres: Postgres) -> None:
    token = Token()
    with connect(**direct.has(user="trusted", password=token)):
        pass
    with Between(postgres.port, answering(b"N", passing)) as between, pytest.raises(OperationalError):
        connect(**direct.has(port=between.port, password=token))
    assert token.asked == 0


def test_a_password_in_clear_text_stays_here(remote: str, direct: Stand) -> None:
    for sslmode in ("disable", "prefer"):
        params = direct.has(user="by_clear_password", sslmode=sslmode)
        with connect(**params) as connection:
            assert connection.run("SELECT 1") == [[1]]
    with pytest.raises(OperationalError, match="so it was not sent"):
        connect(**direct.has(user="by_clear_password", sslmode="disable", host=remote))


# --- what is shown -------------------------------------------------------------------------------------------------

#: What goes wrong, as parameters.
FAILURES: dict[str, dict[str, Any]] = {
    "a wrong password": {},
    "a wrong password in clear text": {"user": "by_clear_password"},
    "no UTF-8": {"password": NOT_UTF8},
    "no UTF-8 in clear text": {"password": NOT_UTF8, "user": "by_clear_password"},
    "no Unicode": {"password": NEVER_UNICODE},
    "a function that gives no Unicode": {"password": lambda: NEVER_UNICODE},
    "a function that gives NUL": {"password": lambda: SECRET + "\0"},
    "a function that gives bytes": {"password": lambda: SECRET.encode()},
    "NUL": {"password": SECRET + "\0"},
    "bytes": {"password": SECRET.encode()},
    "a function": {"password": lambda: SECRET},
    "no such user": {"user": "nobody"},
    "nothing listens": {"port": 1},
    "no such host": {"host": "nowhere.invalid"},
    "a host that cannot be": {"host": "x" * 300},
    "no TLS for this user": {"user": "only_clear"},
    "a certificate of another name": {"host": "elsewhere.example", "hostaddr": "127.0.0.1"},
    "no such file": {"sslrootcert": "/nowhere/root.crt"},
    "channel binding": {"channel_binding": "require", "user": "by_clear_password"},
    "an unknown mode": {"sslmode": "verify"},
    "an unknown parameter": {"sslmod": "verify-full"},
    "a port that is none": {"port": "x"},
    "a wrong password of a key": {"sslpassword": SECRET, "sslcert": "/nowhere"},
}


@contextmanager
def overheard(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What is printed, logged and warned of during the block."""
    heard: list[str] = []
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield heard
    heard += [*capsys.readouterr(), caplog.text, *(str(warning.message) for warning in warned)]


def forms(secret: str) -> list[str]:
    """The secret as it may appear: as it is, in a URL, and what it is without its odd end."""
    return [secret, quote(secret, errors="replace"), SECRET]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("open_one", [connect, dbapi.connect], ids=["native", "dbapi"])
def test_a_failure_does_not_show_it(
    open_one: Callable[..., Any],
    failure: str,
    direct: Stand,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with overheard(capsys, caplog) as heard, pytest.raises(LightvecError) as caught:
        open_one(**direct.has(password=SECRET) | FAILURES[failure])
    check_remedy(caught.value)
    check_silence(caught.value, *forms(SECRET), PASSWORD)
    assert not [text for text in heard if SECRET in text]


def urls(direct: Stand) -> dict[str, str]:
    """Connection strings with the secret in them, none of which leads anywhere."""
    place, root = (
        f"127.0.0.1:{direct.params['port']}",
        f"sslmode=verify-full&sslrootcert={direct.params['sslrootcert']}",
    )
    return {
        "a wrong password": f"postgresql://me:{SECRET}@{place}/{DATABASE}?{root}",
        "a wrong password behind the ?": f"postgresql://me@{place}/{DATABASE}?{root}&password={SECRET}",
        "an unknown authority": f"postgresql://me:{SECRET}@{place}/{DATABASE}?sslmode=verify-full",
        "another host": f"postgresql://me:{SECRET}@localhost:1/{DATABASE}",
        "no such host": f"postgresql://me:{SECRET}@nowhere.invalid/{DATABASE}",
        "a port that is none": f"postgresql://me:{SECRET}@127.0.0.1:port/{DATABASE}",
        "an @ too many": f"postgresql://me:{SECRET}@x@127.0.0.1/{DATABASE}",
        "a / too many": f"postgresql://me:{SECRET}/x@127.0.0.1/{DATABASE}",
        "a % too many": f"postgresql://me:%{SECRET}@127.0.0.1/{DATABASE}",
        "another scheme": f"mysql://me:{SECRET}@127.0.0.1/{DATABASE}",
        "an unknown parameter": f"postgresql://me:{SECRET}@127.0.0.1/{DATABASE}?{SECRET}=1",
        "words": f"host=127.0.0.1 port={direct.params['port']} user=me password={SECRET} sslmode=disable",
        "words with a space too many": f"host=127.0.0.1 user=me password=x {SECRET}",
        "words with a quote too many": f"host=127.0.0.1 user=me password='{SECRET}",
        "words with an unknown one": f"host=127.0.0.1 pasword={SECRET}",
    }


URLS = list(urls(Stand({"port": 0, "sslrootcert": ""}, None, None)))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", URLS)
def test_a_connection_string_is_not_shown(kind: str, direct: Stand) -> None:
    with pytest.raises(LightvecError) as caught:
        connect(urls(direct)[kind])
    check_remedy(caught.value)
    check_silence(caught.value, SECRET)


@pytest.mark.parametrize("kind", URLS)
def test_peewee_does_not_show_it(kind: str, direct: Stand) -> None:
    database = Pg8000Database(urls(direct)[kind])
    with pytest.raises((LightvecError, PeeweeException)) as caught:
        database.connect()
    check_silence(caught.value, SECRET)
    assert SECRET not in repr(database)


COMMANDS = [
    ["init-db", "--table", "product", "--dimensions", "3", "--metric", "cosine"],
    ["search", "product", "--vector", "[1,2,3]"],
    ["load", "product", "rows.jsonl"],
]


@pytest.mark.parametrize("kind", URLS)
@pytest.mark.parametrize("by", ["--url", "LIGHTVEC_URL", "DATABASE_URL"])
def test_the_command_line_does_not_show_it(
    kind: str,
    by: str,
    direct: Stand,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lightvec.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    url = urls(direct)[kind]
    if by != "--url":
        monkeypatch.setenv(by, url)
    for command in COMMANDS:
        with pytest.raises(SystemExit) as leaving:
            main([*command, *(["--url", url] if by == "--url" else [])])
        said = "".join(capsys.readouterr())
        assert leaving.value.code in (1, 2)
        assert SECRET not in said
        assert said.count("\n") == 1, said


def test_the_command_line_does_not_show_it_when_it_is_a_defect(direct: Stand, tmp_path: Path) -> None:
    """With LIGHTVEC_DEBUG=1 as well: a traceback has no values in it."""
    command = [sys.executable, "-m", "lightvec", *COMMANDS[0], "--url", urls(direct)["a wrong password"]]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"LIGHTVEC_DEBUG": "1"}
    )
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["text", "function"])
def test_a_connection_keeps_none(how: str, direct: Stand) -> None:
    password: Any = Token() if how == "function" else PASSWORD
    for open_one in (connect, dbapi.connect):
        with open_one(**direct.has(password=password)) as connection:
            for held in (connection, connection.session, connection.session.transport):
                for shown in (repr(held), str(held), repr(vars(held))):
                    assert PASSWORD not in shown
                kept = (value for value in vars(held).values() if isinstance(value, (bytes, bytearray)))
                assert PASSWORD.encode() not in b"".join(kept)


def test_a_database_of_peewee_shows_none(direct: Stand) -> None:
    params = direct.has()
    for cls in (Pg8000Database, PooledPg8000Database):
        database = cls(params["dbname"], **{name: value for name, value in params.items() if name != "dbname"})
        with database.connection_context():
            cursor = database.execute_sql("SELECT 1")
            shown = [repr(database), str(database), repr(cursor), repr(vars(cursor)), repr(database.connection())]
        assert not [text for text in shown if PASSWORD in text]
        if isinstance(database, PooledPg8000Database):
            database.close_all()
