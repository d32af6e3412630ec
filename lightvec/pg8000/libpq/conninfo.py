"""Connection strings taken apart: libpq's two forms, ``embedded:PATH`` and a plain database name.

Source: PostgreSQL 18 documentation, 34.1.1 "Connection Strings". Nothing of a string is ever shown in an
error, apart from parameter names: a password with a stray ``/``, ``@`` or space in it may turn up in any
part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lightvec.errors import InvalidOption
from lightvec.pg8000.libpq.keywords import canonical, in_range

__all__ = ["EMBEDDED", "parse"]

EMBEDDED = "embedded:"
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_FORMS = "postgresql://user@host:port/database, key=value words, embedded:PATH or a database name"
_QUOTE = "write name=value, with ' around a value with spaces, and \\' for a quote in it"
_ENCODE = "write / as %2F, @ as %40 and : as %3A in a user name or password"

# One "name = value" of a keyword string and the spaces behind it; an unquoted value may end in a lone backslash, which
# libpq drops.
_PAIR = re.compile(
    r"""(?P<name>[^=\s]*) \s* = \s*
    (?: '(?P<quoted>[^'\\]*(?:\\.[^'\\]*)*)' | (?!')(?P<plain>[^\s\\]*(?:\\.[^\s\\]*)*)\\? ) \s*""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
# One host of a URI: an IPv6 address in brackets or a name, either of which may be missing; then its port.
_HOST = re.compile(r"(?: \[ (?P<v6>[^\]]+) \] | (?P<name>[^\[:/?,][^:/?,]*)? ) (?: : (?P<port>[^/?,]*) )?", re.VERBOSE)


def parse(text: str, source: str = "the connection string") -> dict[str, str]:
    """The parameters that a connection string names, by libpq's names; ``embedded`` is the path of that form.

    Malformed strings and unknown parameters are :class:`~lightvec.errors.InvalidOption`; values stay text.

    >>> parse("postgresql://me:it%27s@db:6432/shop?sslmode=require")
    {'user': 'me', 'password': "it's", 'host': 'db', 'port': '6432', 'dbname': 'shop', 'sslmode': 'require'}
    >>> parse("host = /tmp password='it\\\\'s'")
    {'host': '/tmp', 'password': "it's"}
    >>> parse("shop"), parse("embedded:data")
    ({'dbname': 'shop'}, {'embedded': 'data'})
    """
    if "\0" in text:
        raise InvalidOption(f"{source} holds a NUL byte, which PostgreSQL cannot carry: take it out")
    if text.startswith(EMBEDDED):
        return {"embedded": text.removeprefix(EMBEDDED)}
    if scheme := _SCHEME.match(text):
        _check_scheme(scheme[1], source)
        return _parse_uri(text[scheme.end() :].rstrip(), source)
    if "=" in text:
        return dict(_keywords(text, source))
    return _database_name(text, source)


def _check_scheme(scheme: str, source: str) -> None:
    if scheme not in ("postgresql", "postgres"):
        raise InvalidOption(f"{source} begins with {scheme}://, expected postgresql:// or {EMBEDDED}PATH")


def _database_name(text: str, source: str) -> dict[str, str]:
    # Blanks around a name may be part of it, or a slip.
    if re.search("[:/@]", text) or text.strip() not in ("", text):
        raise InvalidOption(f"{source} is not one of the forms that can be read: write {_FORMS}")
    return {"dbname": text} if text.strip() else {}


def _keywords(text: str, source: str) -> Iterator[tuple[str, str]]:
    text = text.lstrip(" \t\n\r\f\v")
    position, count = 0, 0
    while position < len(text):
        count += 1
        if not (pair := _PAIR.match(text, position)):
            raise InvalidOption(f"word {count} of {source} is not name=value: {_QUOTE}")
        value = pair["plain"] if pair["quoted"] is None else pair["quoted"]
        yield canonical(pair["name"], source), re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        position = pair.end()


def _parse_uri(rest: str, source: str) -> dict[str, str]:
    """libpq's order: the user ends at the first @ before any /; then hosts, database and query."""
    who, at, where = rest.partition("@")
    if not at or "/" in who:
        who, where = "", rest
    found = dict(_userinfo(who, source))
    hosts, ports, tail = _hosts(where, source)
    path, _, query = tail.partition("?")
    if "@" in "".join(hosts) or ("@" in path and not who):
        raise InvalidOption(f"{source} has a stray @, so that its parts cannot be told apart: {_ENCODE}")
    found |= {"host": _decoded(",".join(hosts), source)} if any(hosts) or len(hosts) > 1 else {}
    found |= {"port": ",".join(ports)} if any(ports) or len(ports) > 1 else {}
    found |= {"dbname": _decoded(path[1:], source)} if path[1:] else {}
    return found | dict(_query(query, source))


def _userinfo(who: str, source: str) -> Iterator[tuple[str, str]]:
    user, _, password = who.partition(":")
    if user:
        yield "user", _decoded(user, source)
    if password:
        yield "password", _decoded(password, source)


def _hosts(where: str, source: str) -> tuple[list[str], list[str], str]:
    """The host and port of each entry, empty where there is none, and what follows the last."""
    hosts, ports, position = [], [], 0
    while True:
        entry = _HOST.match(where, position)
        if entry is None or where[entry.end() : entry.end() + 1] not in ("", "/", "?", ","):
            raise InvalidOption(f"{source} has a host that cannot be read: write an IPv6 address as [::1]:5432")
        hosts.append(entry["v6"] or entry["name"] or "")
        ports.append(_port(_decoded(entry["port"] or "", source), source))
        position = entry.end() + 1
        if where[entry.end() : position] != ",":
            return hosts, ports, where[entry.end() :]


def _port(text: str, source: str) -> str:
    # Not shown: "user:pass/word@host" puts the first half of a password here.
    if text and in_range(text, 1, 65535) is None:
        raise InvalidOption(f"{source} has a port that is no number from 1 to 65535: correct it, and {_ENCODE}")
    return text


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
    """Percent-decoded as libpq does it: a plus sign stays one, spaces around a part do not count."""
    text = text.strip(" ")
    if re.search(r"\s|%(?![0-9A-Fa-f]{2})|%00", text, re.ASCII):
        raise InvalidOption(f"{source} has a space or a % that is no %XX escape: write % as %25 and a space as %20")
    escaped = re.sub("%(..)", lambda escape: chr(int(escape[1], 16)), text)
    return escaped if escaped == text else _utf8(text, source)


def _utf8(text: str, source: str) -> str:
    parts = re.split("%(..)", text)
    raw = b"".join(
        bytes.fromhex(part) if index % 2 else part.encode("utf-8", "surrogateescape")
        for index, part in enumerate(parts)
    )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidOption(f"{source} has %XX escapes that are not UTF-8: encode it as UTF-8 first") from None
