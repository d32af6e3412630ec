"""Arguments, string and environment become one target, and no secret is shown or sent astray."""

from __future__ import annotations

import os
import pwd
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from lightvec.errors import InvalidOption
from lightvec.wire.libpq import target as dsn
from lightvec.wire.libpq.parameters import VARIABLES
from lightvec.wire.libpq.target import Address, Target, resolve

SECRET = "s3cret-Pa55"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment that names nothing but an empty home folder."""
    return {"HOME": str(tmp_path)}


@pytest.fixture(autouse=True)
def _no_default_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsn, "_SOCKET_FOLDERS", (str(tmp_path / "run"), str(tmp_path / "tmp")))


def refusal(text: str | None = None, environ: Mapping[str, str] | None = None, **params: object) -> str:
    with pytest.raises(InvalidOption) as caught:
        resolve(text, environ=environ or {}, **params)
    return str(caught.value)


# --- arguments and precedence -------------------------------------------------------------------------------


def test_arguments_beat_the_string_which_beats_the_environment(home: dict[str, str]) -> None:
    environ = home | {"PGUSER": "env", "PGDATABASE": "env", "PGAPPNAME": "env", "PGPASSWORD": "env"}
    target = resolve("postgresql://string@h/string", environ=environ, database="argument")
    assert (target.database, target.user, target.application_name) == ("argument", "string", "env")
    assert target.password == "env"


def test_none_is_not_given_and_empty_is_the_default(home: dict[str, str]) -> None:
    environ = home | {"PGHOST": "env.example", "PGPORT": "7000"}
    assert resolve(environ=environ, host=None).hosts == (Address("env.example", 7000),)
    assert resolve(environ=environ, host="", port="").hosts == (Address("localhost", 5432),)


def test_database_url_completes_what_names_no_host(home: dict[str, str]) -> None:
    environ = home | {
        "DATABASE_URL": "postgresql://me:url@url.example:6000/shop?application_name=url",
        "PGHOST": "env.example",
        "PGHOSTADDR": "10.0.0.1",
        "PGPASSWORD": "env",
        "PGOPTIONS": "-c x.y=1",
    }
    target = resolve("other", environ=environ, port=6432)
    assert target.hosts == (Address("url.example", 6432),)
    assert (target.user, target.password, target.database) == ("me", "url", "other")
    assert target.startup == {"application_name": "url", "options": "-c x.y=1"}


@pytest.mark.parametrize(
    "given", ["postgresql://h.example/db", "host=h.example", "hostaddr=127.0.0.1", "host=''", "embedded:x"]
)
def test_nothing_of_database_url_goes_to_another_host(given: str, home: dict[str, str]) -> None:
    url = f"postgresql://me:{SECRET}@url.example:6000/shop?sslmode=disable"
    target = resolve(given, environ=home | {"DATABASE_URL": url, "PGUSER": "u"})
    assert target.password is None
    assert target.user in ("u", "")
    assert all(address.port == 5432 for address in target.hosts)
    assert target.sslmode != "disable"


def test_the_password_of_database_url_is_for_its_own_user(home: dict[str, str]) -> None:
    environ = home | {"DATABASE_URL": "postgresql://me:url@url.example/shop"}
    assert resolve(environ=environ, user="other").password is None
    assert resolve(environ=environ, user="me").password == "url"


def test_a_foreign_database_url_matters_only_where_it_is_needed(home: dict[str, str]) -> None:
    environ = home | {"DATABASE_URL": f"mysql://me:{SECRET}@h/db"}
    assert refusal(environ=environ).startswith("DATABASE_URL begins with mysql://")
    assert resolve("postgresql://h/db", environ=environ).database == "db"


def test_host_and_hostaddr_come_from_one_source(home: dict[str, str]) -> None:
    target = resolve("host=h.example", environ=home | {"PGHOSTADDR": "10.0.0.1", "PGHOST": "env.example"})
    assert target.hosts == (Address("h.example", 5432),)


def test_every_variable_of_libpq_is_read(home: dict[str, str]) -> None:
    assert len(VARIABLES) == 42
    for name in VARIABLES:
        assert refusal(None, home | {name: "\0"}), name


def test_an_error_names_the_variable(home: dict[str, str]) -> None:
    assert refusal(environ=home | {"PGPORT": "x"}).startswith(
        "port from PGPORT cannot be used: expected a number from 1 to 65535"
    )
    assert "service from PGSERVICE" in refusal(environ=home | {"PGSERVICE": "shop"})


def test_unknown_arguments_name_the_nearest() -> None:
    assert "did you mean connect_timeout?" in refusal(conect_timeout=5)
    assert "did you mean database?" in refusal(databas="x")
    assert "given twice" in refusal(database="a", dbname="b")


@pytest.mark.parametrize("value", [object(), ["h"]])
def test_values_that_are_no_text_are_refused(value: object) -> None:
    assert f"of class {type(value).__name__}" in refusal(password=value)


def test_the_string_itself_must_be_one() -> None:
    with pytest.raises(InvalidOption, match="is of class bytes, expected str"):
        resolve(b"postgresql://", environ={})  # type: ignore[arg-type]


def test_a_context_decides_about_tls(home: dict[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    target = resolve("host=localhost", environ=home, ssl_context=context)
    assert target.ssl_context is context
    assert target.sslmode == "require"
    assert "leave one of them out" in refusal("host=h", sslmode="disable", ssl_context=context)
    assert "an ssl.SSLContext" in refusal("host=h", ssl_context="yes")


def test_numbers_paths_and_truths_are_values_too(home: dict[str, str], tmp_path: Path) -> None:
    target = resolve(
        environ=home,
        host="h",
        port=6432,
        connect_timeout=0.5,
        keepalives=False,
        sslrootcert=tmp_path / "ca.pem",
    )
    assert target.hosts == (Address("h", 6432),)
    assert (target.connect_timeout, target.keepalives) == (0.5, False)
    assert target.sslrootcert == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("value", ["0", "-1", "", 0, None])
def test_no_timeout_is_for_ever(value: object, home: dict[str, str]) -> None:
    assert resolve("host=h", environ=home, connect_timeout=value).connect_timeout is None


def test_what_tunes_the_socket_and_the_startup(home: dict[str, str]) -> None:
    target = resolve(
        "host=h keepalives_idle=30 keepalives_count=0 tcp_user_timeout=900 fallback_application_name=me "
        "replication=database ssl_min_protocol_version=TLSv1.3",
        environ=home,
    )
    assert (target.keepalives_idle, target.keepalives_count, target.tcp_user_timeout) == (30, 0, 900)
    assert target.startup == {"application_name": "me", "replication": "database"}
    assert target.ssl_min_protocol_version == "TLSv1.3"


# --- hosts --------------------------------------------------------------------------------------------------


def test_hosts_ports_and_addresses_are_paired_as_in_libpq(home: dict[str, str]) -> None:
    def hosts(text: str) -> tuple[Address, ...]:
        return resolve(text, environ=home).hosts

    assert hosts("host=a,b port=1,2") == (Address("a", 1), Address("b", 2))
    assert hosts("host=a,b port=1,") == (Address("a", 1), Address("b", 5432))
    assert hosts("host=a,b port=7") == (Address("a", 7), Address("b", 7))
    assert hosts("hostaddr=127.0.0.1") == (Address("127.0.0.1", 5432, "127.0.0.1"),)
    assert hosts("host=a,b hostaddr=10.0.0.1,") == (Address("a", 5432, "10.0.0.1"), Address("b", 5432))


def test_a_folder_is_a_socket(home: dict[str, str]) -> None:
    (address,) = resolve(environ=home, host="/run/pg/", port=6543).hosts
    assert address.socket_path == "/run/pg/.s.PGSQL.6543"
    assert Address("/run/pg", 5432, "127.0.0.1").socket_path is None
    assert str(Address("db.example", 5432, "10.0.0.1")) == "db.example (10.0.0.1) port 5432"


def test_the_default_host_is_the_first_folder_with_a_socket(
    home: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    monkeypatch.setattr(dsn, "_SOCKET_FOLDERS", (str(tmp_path / "none"), str(folder)))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / ".s.PGSQL.6543"))
        assert resolve("port=6543", environ=home).hosts[0].host == str(folder)
        assert resolve("port=6544", environ=home).hosts[0].host == "localhost"


def test_the_default_user_is_the_systems_and_the_default_database_is_the_user(home: dict[str, str]) -> None:
    name = pwd.getpwuid(os.geteuid()).pw_name
    target = resolve(environ=home | {"USER": "someone", "LOGNAME": "someone"})
    assert (target.user, target.database) == (name, name)
    assert resolve("user=me", environ=home).database == "me"


def test_a_user_without_a_name_is_told_what_to_do(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 2**31 - 7)
    assert "set PGUSER" in refusal("host=h", home)


# --- TLS defaults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("host=/tmp", "prefer"),
        ("host=localhost", "prefer"),
        ("host=127.1.2.3", "prefer"),
        ("host=::1", "prefer"),
        ("host=db.example hostaddr=127.0.0.1", "prefer"),
        ("host=db.example", "verify-full"),
        ("host=localhost.example", "verify-full"),
        ("host=127.0.0.1.example", "verify-full"),
        ("host=localhost hostaddr=10.0.0.1", "verify-full"),
        ("host=localhost,db.example", "verify-full"),
        ("host=localhost sslrootcert=system", "verify-full"),
        ("host=db.example sslmode=require", "require"),
        ("host=db.example sslmode=", "verify-full"),
    ],
)
def test_hosts_that_are_not_local_are_verified(text: str, mode: str, home: dict[str, str]) -> None:
    assert resolve(text, environ=home).sslmode == mode


def test_any_public_authority_with_any_name_is_not_enough(home: dict[str, str]) -> None:
    assert "would take any host's certificate" in refusal("host=localhost sslmode=verify-ca", home)
    assert resolve("host=/tmp sslmode=verify-ca", environ=home).sslmode == "verify-ca"
    assert resolve("host=h sslmode=verify-ca sslrootcert=ca.pem", environ=home).sslrootcert == "ca.pem"


def test_libpqs_default_files_are_used_where_they_exist(home: dict[str, str], tmp_path: Path) -> None:
    assert resolve("host=h", environ=home).sslrootcert is None
    folder = tmp_path / ".postgresql"
    folder.mkdir()
    for name in ("root.crt", "postgresql.crt", "postgresql.key"):
        (folder / name).touch()
    target = resolve("host=h", environ=home)
    assert target.sslrootcert == str(folder / "root.crt")
    assert (target.sslcert, target.sslkey) == (str(folder / "postgresql.crt"), str(folder / "postgresql.key"))
    without = resolve("host=h sslcertmode=disable", environ=home)
    assert (without.sslcert, without.sslkey) == (None, None)


# --- secrets ------------------------------------------------------------------------------------------------


def test_a_target_does_not_show_its_secrets(home: dict[str, str]) -> None:
    target = resolve(f"postgresql://me:{SECRET}@h/db?sslpassword={SECRET}", environ=home)
    assert SECRET not in f"{target!r} {target} {target.hosts}"
    assert "password='***'" not in repr(target)
    assert "password=***" in repr(target)


def test_without_a_home_there_are_no_files_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    target = resolve("host=h user=me", environ={})
    assert (target.hosts[0].password, target.sslrootcert, target.sslcert) == (None, None, None)


def test_a_callable_password_is_asked_each_time(home: dict[str, str]) -> None:
    tokens = iter(["first", "second"])
    target = resolve("host=h", environ=home, password=lambda: next(tokens))
    (address,) = target.hosts
    assert [target.password_for(address), target.password_for(address)] == ["first", "second"]


def test_a_callable_password_must_answer_text(home: dict[str, str]) -> None:
    target = resolve("host=h", environ=home, password=lambda: SECRET.encode())
    with pytest.raises(InvalidOption, match="returned bytes, expected str") as caught:
        target.password_for(target.hosts[0])
    assert SECRET not in str(caught.value)


PASSFILE = r"""# a comment
broken:line
db.example:5432:shop:me:plain
db.example:*:*:me:it\:s\\ok
10.0.0.1:5432:*:*:byaddress
localhost:5432:*:me:local
[a\:b]:5432:*:me:never
*:6000:*:*:with:more
"""


@pytest.fixture
def passfile(tmp_path: Path) -> Path:
    path = tmp_path / ".pgpass"
    path.write_text(PASSFILE)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host=db.example user=me dbname=shop", "plain"),
        ("host=db.example user=me dbname=other", r"it:s\ok"),
        ("host=db.example user=you", None),
        ("hostaddr=10.0.0.1 user=you", "byaddress"),
        ("host=localhost user=me", "local"),
        ("host='' user=me", "local"),
        ("host=x.example user=you port=6000", "with"),
        ("host=db.example user=me password=own", "own"),
    ],
)
@pytest.mark.usefixtures("passfile")
def test_the_password_file(text: str, expected: str | None, home: dict[str, str]) -> None:
    target = resolve(text, environ=home)
    assert target.password_for(target.hosts[0]) == expected
    assert "plain" not in repr(target)


def test_each_host_has_its_own_line(home: dict[str, str], passfile: Path) -> None:
    target = resolve(f"host=db.example,localhost user=me passfile={passfile}", environ=home)
    assert [target.password_for(address) for address in target.hosts] == [r"it:s\ok", "local"]


def test_the_default_socket_folder_is_localhost_in_the_file(home: dict[str, str], passfile: Path) -> None:
    folder = dsn._SOCKET_FOLDERS[0]
    target = resolve("user=me", environ=home | {"PGHOST": folder, "PGPASSFILE": str(passfile)})
    assert target.password_for(target.hosts[0]) == "local"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_password_file_open_to_others_is_not_read(mode: int, home: dict[str, str], passfile: Path) -> None:
    passfile.chmod(mode)
    with pytest.warns(UserWarning, match="chmod 0600") as warned:
        target = resolve("host=db.example user=me", environ=home)
    assert target.password_for(target.hosts[0]) is None
    assert warned[0].filename == __file__


def test_a_password_file_that_is_not_there_is_no_fault(home: dict[str, str], tmp_path: Path) -> None:
    for name in ("none", "."):
        environ = home | {"PGPASSFILE": str(tmp_path / name)}
        assert resolve("host=h user=me", environ=environ).hosts[0].password is None


# --- the embedded server ------------------------------------------------------------------------------------


def test_embedded_takes_nothing_from_the_environment(home: dict[str, str]) -> None:
    environ = home | {"PGHOST": "h", "PGUSER": "u", "PGPASSWORD": "p", "DATABASE_URL": "postgresql://x@y/z"}
    target = resolve("embedded:data", environ=environ, application_name="me")
    assert target == Target((), "", "", application_name="me", embedded=Path("data"))
    assert resolve("embedded:", environ=environ).embedded == Path(".lightvec")


def test_embedded_may_stand_in_database_url(home: dict[str, str]) -> None:
    target = resolve("shop", environ=home | {"DATABASE_URL": "embedded:data", "PGHOST": "h", "PGPORT": "1"})
    assert (target.embedded, target.database) == (Path("data"), "shop")


def test_an_embedded_target_is_completed_by_its_server(home: dict[str, str]) -> None:
    target = resolve("embedded:data", environ=home, database="shop", options="-c x.y=1")
    served = target.served_at("postgresql://postgres:pw@/postgres?host=/run/pg&port=6000")
    assert served.hosts == (Address("/run/pg", 6000),)
    assert (served.user, served.password, served.database) == ("postgres", "pw", "shop")
    assert (served.options, served.embedded) == ("-c x.y=1", None)


def test_embedded_and_a_host_cannot_both_be() -> None:
    assert "leave host out" in refusal("embedded:data", host="h")
    assert "leave port out" in refusal("embedded:data", port=1)
