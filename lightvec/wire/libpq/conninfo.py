"""Connection strings: libpq's two forms, ``embedded:PATH`` and a plain database name.

Source: PostgreSQL 18 documentation, 34.1.1 "Connection Strings". An error never shows a value from
the string: a password with a stray ``/``, ``@`` or space may turn up in any part. No regular
expressions: compiling them took most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_letters, digits

from lightvec.errors import InvalidOption
from lightvec.wire.libpq.parameters import SPACES, canonical

__all__ = ["parse"]

_EMBEDDED = "embedded:"
_FORMS = "postgresql://user@host:port/database, key=value words, embedded:PATH or a database name"
_QUOTE = "write name=value, with ' around a value with spaces, and \\' for a quote in it"
_ENCODE = "write / as %2F, @ as %40 and : as %3A in a user name or password"


def parse(text: str, source: str = "the connection string") -> dict[str, str]:
    """The parameters in a connection string, by libpq's names; ``embedded`` is a path.

    Malformed strings and unknown parameters are :class:`~lightvec.errors.InvalidOption`.

    >>> parse("postgresql://me:it%27s@db:6432/shop")
    {'user': 'me', 'password': "it's", 'host': 'db', 'port': '6432', 'dbname': 'shop'}
    >>> parse("host = /tmp password='it\\\\'s'")
    {'host': '/tmp', 'password': "it's"}
    >>> parse("shop"), parse("embedded:data")
    ({'dbname': 'shop'}, {'embedded': 'data'})
    """
    if "\0" in text:
        raise InvalidOption(f"{source} holds a NUL byte, which PostgreSQL cannot carry: remove it")
    if text.startswith(_EMBEDDED):
        return {"embedded": text.removeprefix(_EMBEDDED)}
    scheme, is_uri, rest = text.strip().partition("://")
    if is_uri and scheme[:1].isalpha() and not scheme.strip(ascii_letters + digits + "+.-"):
        if scheme not in ("postgresql", "postgres"):
            raise InvalidOption(f"{source} begins with {scheme}://, expected postgresql:// or {_EMBEDDED}PATH")
        return _parse_uri(rest, source)
    if "=" in text:
        return dict(_words(text, source))
    # Spaces around a name may be part of it, or a slip.
    if not set(text).isdisjoint(":/@") or text.strip() not in ("", text):
        raise InvalidOption(f"{source} is not in a known form: write {_FORMS}")
    return {"dbname": text} if text.strip() else {}


# --- name=value words -----------------------------------------------------------------------------


def _words(text: str, source: str) -> Iterator[tuple[str, str]]:
    text = text.lstrip(SPACES)
    count = 0
    while text:
        count += 1
        name, equals, rest = text.partition("=")
        name = name.rstrip(SPACES)
        value, text = _value(rest.lstrip(SPACES))
        if not equals or value is None or not set(name).isdisjoint(SPACES):
            raise InvalidOption(f"word {count} of {source} is not name=value: {_QUOTE}")
        yield canonical(name, source), value
        text = text.lstrip(SPACES)


def _value(text: str) -> tuple[str | None, str]:
    """The value that the text begins with, None if its closing quote is missing; and the rest."""
    is_quoted = text.startswith("'")
    value: list[str] = []
    characters = iter(enumerate(text[is_quoted:], 1 + is_quoted))
    for end, character in characters:
        if character == "\\":
            # libpq drops a backslash at the end.
            _, character = next(characters, (end, ""))
        elif (character == "'") if is_quoted else (character in SPACES):
            return "".join(value), text[end:]
        value.append(character)
    return None if is_quoted else "".join(value), ""


# --- URIs -----------------------------------------------------------------------------------------


def _parse_uri(rest: str, source: str) -> dict[str, str]:
    """As libpq: the user ends at the first @ before any /; then hosts, database and query."""
    userinfo, at, tail = rest.partition("@")
    if not at or "/" in userinfo:
        userinfo, tail = "", rest
    user, _, password = userinfo.partition(":")
    end = next((index for index, character in enumerate(tail) if character in "/?"), len(tail))
    path, _, query = tail[end:].partition("?")
    if "@" in tail[:end] or ("@" in path and not userinfo):
        raise InvalidOption(f"{source} has a stray @, so its parts cannot be told apart: {_ENCODE}")
    entries = [_host(entry, source) for entry in tail[:end].split(",")]
    hosts, ports = map(",".join, zip(*entries, strict=True))
    parts = {"user": user, "password": password, "host": hosts, "port": ports, "dbname": path[1:]}
    found = {name: _decoded(part, source) for name, part in parts.items() if part}
    return found | dict(_query(query, source))


def _host(entry: str, source: str) -> tuple[str, str]:
    """The host and the port of an entry, empty where there is none."""
    host, _, port = entry.partition(":")
    if entry.startswith("["):
        host, bracket, tail = entry[1:].partition("]")
        port = tail[1:]
        if not host or not bracket or (tail and not tail.startswith(":")):
            raise InvalidOption(f"{source} has a malformed host: write an IPv6 address as [::1]:5432")
    return host, port


def _query(query: str, source: str) -> Iterator[tuple[str, str]]:
    for pair in query.removesuffix("&").split("&") if query else ():
        name, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise InvalidOption(f"{source} has a part after its ? that is not name=value: write & as %26 and = as %3D")
        name, value = _decoded(name, source), _decoded(value, source)
        # libpq reads this one pair of JDBC's too.
        name, value = ("sslmode", "require") if (name, value) == ("ssl", "true") else (name, value)
        yield canonical(name, source), value


def _decoded(text: str, source: str) -> str:
    """Percent-decoded as by libpq: a plus sign stays one, spaces around a part are dropped."""
    text = text.strip(" ")
    first, *escaped = text.split("%")
    try:
        # Padded, because fromhex() accepts an empty text.
        parts = (bytes.fromhex(part[:2].ljust(2, "?")) + part[2:].encode() for part in escaped)
        decoded = b"".join((first.encode(), *parts)).decode() if escaped else text
    except ValueError:
        decoded = "\0"
    if "\0" in decoded or not set(text).isdisjoint(SPACES):
        raise InvalidOption(
            f"{source} has a space, or a % without two hexadecimal digits of UTF-8: write % as %25 and a space as %20"
        )
    return decoded
