"""Connection strings: what libpq documents and does, and where lightvec is stricter."""

from __future__ import annotations

import contextlib
import string
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightvec.errors import InvalidOption
from lightvec.wire.libpq import conninfo
from lightvec.wire.libpq.target import resolve

SECRET = "s3cret-Pa55"


def refusal(text: str | None, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(InvalidOption) as caught:
        resolve(text, environ=environ or {})
    return str(caught.value)


# The examples of PostgreSQL documentation 34.1.1, and further what libpq 18's own parser was seen to answer.
STRINGS: list[tuple[str, dict[str, str]]] = [
    (
        "host=localhost port=5432 dbname=mydb connect_timeout=10",
        {"host": "localhost", "port": "5432", "dbname": "mydb", "connect_timeout": "10"},
    ),
    ("postgresql://", {}),
    ("postgresql://localhost", {"host": "localhost"}),
    ("postgresql://localhost:5433", {"host": "localhost", "port": "5433"}),
    ("postgresql://localhost/mydb", {"host": "localhost", "dbname": "mydb"}),
    ("postgresql://user@localhost", {"user": "user", "host": "localhost"}),
    ("postgresql://user:secret@localhost", {"user": "user", "password": "secret", "host": "localhost"}),
    (
        "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
        {
            "user": "other",
            "host": "localhost",
            "dbname": "otherdb",
            "connect_timeout": "10",
            "application_name": "myapp",
        },
    ),
    (
        "postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
        {
            "host": "host1,host2",
            "port": "123,456",
            "dbname": "somedb",
            "target_session_attrs": "any",
            "application_name": "myapp",
        },
    ),
    ("postgresql:///mydb?host=localhost&port=5433", {"dbname": "mydb", "host": "localhost", "port": "5433"}),
    (
        "postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3Doff",
        {
            "user": "user",
            "host": "localhost",
            "port": "5433",
            "dbname": "mydb",
            "options": "-c synchronous_commit=off",
        },
    ),
    ("postgresql://[2001:db8::1234]/database", {"host": "2001:db8::1234", "dbname": "database"}),
    ("postgresql:///dbname?host=/var/lib/postgresql", {"dbname": "dbname", "host": "/var/lib/postgresql"}),
    ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", {"host": "/var/lib/postgresql", "dbname": "dbname"}),
    ("postgres://[::1]:12345/db", {"host": "::1", "port": "12345", "dbname": "db"}),
    ("postgres://h1,[::1]:5,h3/db", {"host": "h1,::1,h3", "port": ",5,", "dbname": "db"}),
    ("postgres://@host", {"host": "host"}),
    ("postgres://u:@host:/", {"user": "u", "host": "host"}),
    ("postgres://:12345/", {"port": "12345"}),
    ("postgres://a:b:c@h", {"user": "a", "password": "b:c", "host": "h"}),
    ("postgres://u:p?w@h", {"user": "u", "password": "p?w", "host": "h"}),
    ("postgres://host/a/b", {"host": "host", "dbname": "a/b"}),
    ("postgres://host?u%73er=me&user=you&", {"host": "host", "user": "you"}),
    ("postgres://h?ssl=true", {"host": "h", "sslmode": "require"}),
    ("postgres://h/a+b", {"host": "h", "dbname": "a+b"}),
    (
        r"user = me  password='it\'s \\ a' dbname=a\ b",
        {"user": "me", "password": r"it's \ a", "dbname": "a b"},
    ),
    ("host= user=''port=5", {"host": "user=''port=5"}),
    ("host='' user=''port=5", {"host": "", "user": "", "port": "5"}),
    ("password=it's host=h\\", {"password": "it's", "host": "h"}),
    ("mydb", {"dbname": "mydb"}),
    ("", {}),
    (" postgres://h/db\n", {"host": "h", "dbname": "db"}),
    ("embedded:", {"embedded": ""}),
    ("embedded:a/b", {"embedded": "a/b"}),
]


@pytest.mark.parametrize(("text", "expected"), STRINGS)
def test_parses_as_libpq(text: str, expected: dict[str, str]) -> None:
    assert conninfo.parse(text) == expected


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(user=NAMES, password=NAMES, database=NAMES.filter(lambda name: len(name.encode()) < 64))
def test_a_uri_brings_any_text_back(user: str, password: str, database: str) -> None:
    uri = f"postgresql://{quote(user, '')}:{quote(password, '')}@db.example/{quote(database, '')}"
    target = resolve(uri, environ={"HOME": "/nonexistent"})
    assert (target.user, target.password, target.database) == (user, password, database)


@given(user=NAMES, password=NAMES)
def test_a_keyword_string_brings_any_text_back(user: str, password: str) -> None:
    quoted = [text.replace("\\", r"\\").replace("'", r"\'") for text in (user, password)]
    found = conninfo.parse("user='{}' password = '{}'".format(*quoted))
    assert found == {"user": user, "password": password}


@given(st.text(alphabet="postgresql:/@[]%=&?,' \\" + string.digits, max_size=40))
def test_whatever_the_string_only_invalid_option_comes_out(text: str) -> None:
    for candidate in (text, f"postgresql://{text}"):
        with contextlib.suppress(InvalidOption):
            resolve(candidate, environ={"HOME": "/nonexistent"})


# Malformed in every way that may move a password into another part.
LEAKS = [
    f"postgresql://me:{SECRET}/x@db.example/shop",
    f"postgresql://me:{SECRET}@db@db.example/shop",
    f"postgresql://me:@{SECRET}@db.example/shop",
    f"postgresql://me:12/{SECRET}@db.example/shop",
    f"postgresql://me:{SECRET}%zz@db.example/shop",
    f"postgresql://me:{SECRET} x@db.example/shop",
    f"postgresql://me:{SECRET}%00@db.example/shop",
    f"postgresql://me:{SECRET}%ff@db.example/shop",
    f"postgresql://me:{SECRET}\0@db.example/shop",
    f"postgresql://me:{SECRET}@db.example:99999/shop",
    f"postgresql://me:{SECRET}@[::1/shop",
    f"postgresql://me:{SECRET}@db.example/shop?sslmode=always",
    f"postgresql://me:{SECRET}@db.example/shop?nothing=1",
    f"postgresql://db.example/shop?password=a&{SECRET}=b",
    f"postgresql://db.example/shop?password=a={SECRET}",
    f"postgresql://db.example/shop?passwort={SECRET}",
    f"postgresql+psycopg2://me:{SECRET}@db.example/shop",
    f"me:{SECRET}@db.example/shop",
    f"host=db.example password=my {SECRET}",
    f"host=db.example password=my {SECRET}=1",
    f"host=db.example password='{SECRET}",
    f"host=db.example password='it''{SECRET}'",
    f"host=db.example passwort={SECRET}",
    f"host=db.example password={SECRET} port=x",
    f"host=db.example password={SECRET} service=shop",
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_error_shows_a_password(text: str) -> None:
    for message in (refusal(text), refusal(None, {"DATABASE_URL": text})):
        assert SECRET not in message
        assert "\n" not in message


MALFORMED = [
    ("postgre://h", "begins with postgre://, expected postgresql://"),
    ("postgresql://[]/db", "write an IPv6 address as [::1]:5432"),
    ("postgresql://[::1]z", "write an IPv6 address as [::1]:5432"),
    ("postgresql://h?zzz", "not name=value"),
    ("postgresql://h:0/db", "a number from 1 to 65535"),
    ("postgresql://h/%1", "two hexadecimal digits"),
    ("postgresql://h/a%00", "two hexadecimal digits"),
    ("postgresql://h/a%+1", "two hexadecimal digits"),
    ("postgresql://h/%ff", "two hexadecimal digits of UTF-8"),
    ("postgresql://h?ssl=false", "'ssl' in the connection string is no connection parameter"),
    ("host=h port", "word 2 of the connection string is not name=value"),
    ("user='me", "word 1 of the connection string is not name=value"),
    ("port=65536", "port from the connection string cannot be used: expected a number from 1 to 65535"),
    ("port=1,2 host=a", "2 ports but 1 hosts"),
    ("host=a,b hostaddr=127.0.0.1", "2 hosts but 1 values of hostaddr"),
    ("hostaddr=db.example", "expected an IP address"),
    ("host=@abstract", "abstract socket"),
    ("connect_timeout=soon", "connect_timeout from the connection string is 'soon', expected a number"),
    ("connect_timeout=nan", "expected a number of seconds"),
    ("connect_timeout=99999999999", "a number of seconds up to 2147483647"),
    ("sslmode=always", "expected disable, allow, prefer, require, verify-ca or verify-full"),
    ("target_session_attrs=leader", "expected any, read-write, read-only, primary, standby or"),
    ("channel_binding=yes", "expected disable, prefer or require"),
    ("sslmod=require", "did you mean sslmode?"),
    ("keepalives=on", "expected a whole number"),
    ("replication=maybe", "expected true, on, yes, 1, database, false"),
    ("client_encoding=LATIN1", "expected UTF8, UTF-8, Unicode or auto"),
    ("ssl_min_protocol_version=TLSv9", "TLSv1.2 or TLSv1.3"),
    ("ssl_max_protocol_version=TLSv1", "expected TLSv1.2 or TLSv1.3"),
    ("sslrootcert=system sslmode=require host=h", "say sslmode=verify-full"),
    ("gssencmode=require", "is not supported by lightvec: leave it out, or say disable"),
    ("sslcompression=1", "leave it out, or say 0"),
    ("service=shop", "service from the connection string is not supported"),
    ("require_auth=scram-sha-256", "require_auth from the connection string is not supported"),
    ("ssl_context=x", "an ssl.SSLContext"),
    ("a\0b", "NUL byte"),
]


@pytest.mark.parametrize(("text", "expected"), MALFORMED)
def test_malformed_strings_are_refused_in_one_sentence(text: str, expected: str) -> None:
    message = refusal(text)
    assert expected in message
    assert "\n" not in message


def test_harmless_values_of_what_is_not_supported_pass(tmp_path: Path) -> None:
    resolve(
        "gssencmode=prefer sslcompression=0 sslnegotiation=postgres krbsrvname=x gsslib=gssapi sslsni=1 "
        "load_balance_hosts=disable max_protocol_version=latest min_protocol_version=3.0 "
        "client_encoding=utf-8 sslcrl=",
        environ={"HOME": str(tmp_path)},
    )
