"""The connection parameters: libpq's names, their environment variables, and how values are read.

Source: PostgreSQL 18 documentation, 34.1.2 "Parameter Key Words" and 34.15 "Environment Variables".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lightvec.errors import InvalidOption
from lightvec.wire.identifiers import MAX_BYTES

__all__ = ["SPACES", "VARIABLES", "Given", "canonical", "in_range", "read"]

#: What C's isspace() accepts; str.strip() strips more.
SPACES = " \t\n\r\f\v"
_INT_MAX = 2**31 - 1


class Given(NamedTuple):
    """A parameter's value as it was given; ``source`` is "the arguments", "PGPORT" or the like."""

    name: str
    value: object
    source: str

    def refused(self, expected: str, *, show: bool = True) -> InvalidOption:
        """The error to raise; ``show=False`` for values that may hold a secret."""
        got = f"is {self.value!r}," if show else "cannot be used:"
        return InvalidOption(f"{self.name} from {self.source} {got} expected {expected}")

    def text(self) -> str:
        """The value as libpq would read it: numbers, booleans, paths and bytes become text."""
        value = self.value
        if isinstance(value, (bytes, bytearray)):
            value = value.decode("utf-8", "surrogateescape")
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, (str, int, float, os.PathLike)):
            raise self.refused(f"text, not an object of class {type(value).__name__}", show=False)
        text = str(value)
        if "\0" in text:
            raise self.refused("text without NUL bytes", show=False)
        return text


Reader = Callable[[Given], Any]
_text: Reader = Given.text


def in_range(text: str, low: int, high: int) -> int | None:
    """The whole number that the text is, if it is from low to high; else None.

    >>> in_range(" 5432 ", 1, 65535), in_range("65536", 1, 65535), in_range("5e3", 1, 65535)
    (5432, None, None)
    """
    try:
        number = int(text)
    except ValueError:
        return None
    return number if low <= number <= high else None


def _sent(given: Given) -> str:
    """A text that is sent to the server."""
    text = given.text()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise given.refused("Unicode text", show=False) from None
    return text


def _database(given: Given) -> str:
    text = _sent(given)
    if len(text.encode()) > MAX_BYTES:
        # The server would truncate it, and connect to the database with the short name.
        raise given.refused(f"a name of at most {MAX_BYTES} bytes", show=False)
    return text


def _choice(*words: str) -> Reader:
    def read_choice(given: Given) -> str | None:
        text = given.text()
        word = next((word for word in words if word.lower() == text.lower()), None)
        if text and word is None:
            raise given.refused(f"{', '.join(words[:-1])} or {words[-1]}")
        return word

    return read_choice


def _integer(given: Given) -> int | None:
    text = given.text()
    number = in_range(text, -_INT_MAX - 1, _INT_MAX)
    if text and number is None:
        raise given.refused("a whole number")
    return number


def _flag(given: Given) -> bool | None:
    number = _integer(given)
    return None if number is None else bool(number)


def _seconds(given: Given) -> float | None:
    try:
        seconds = float(given.text() or 0)
    except ValueError:
        seconds = _INT_MAX + 1
    if not seconds <= _INT_MAX:  # NaN, too
        raise given.refused(f"a number of seconds up to {_INT_MAX}, where 0 waits forever")
    return seconds if seconds > 0 else None


def _replication(given: Given) -> str | None:
    word = _choice("true", "on", "yes", "1", "database", "false", "off", "no", "0")(given)
    return None if word in ("false", "off", "no", "0") else word


def _object(is_valid: Callable[[Any], bool], expected: str) -> Reader:
    def read_object(given: Given) -> Any:
        if not is_valid(given.value):
            raise given.refused(expected, show=False)
        return given.value

    return read_object


def _password(given: Given) -> object:
    return given.value if callable(given.value) else given.text()


def _startup_params(given: Given) -> dict[str, str]:
    if not isinstance(given.value, Mapping):
        raise given.refused("a mapping of names to values", show=False)
    params = {str(name): _sent(Given(str(name), value, given.name)) for name, value in given.value.items()}
    if clash := params.keys() & {"user", "database", "application_name", "replication"}:
        raise InvalidOption(f"{sorted(clash)[0]} is given in {given.name}: give it as an argument of its own")
    return params


#: libpq's parameters that have an environment variable.
_WITH_VARIABLE: Mapping[str, Reader] = {
    "host": _text,
    "hostaddr": _text,
    "port": _text,
    "dbname": _database,
    "user": _sent,
    "password": _password,
    "passfile": _text,
    "connect_timeout": _seconds,
    "application_name": _sent,
    "options": _sent,
    "client_encoding": _choice("UTF8", "UTF-8", "Unicode", "auto"),
    "target_session_attrs": _choice("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "channel_binding": _choice("disable", "prefer", "require"),
    "sslmode": _choice("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslrootcert": _text,
    "sslcert": _text,
    "sslkey": _text,
    "sslcertmode": _choice("disable", "allow"),
    "ssl_min_protocol_version": _choice("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
    "ssl_max_protocol_version": _choice("TLSv1.2", "TLSv1.3"),
    "krbsrvname": _text,  # This and the next one belong to GSSAPI: without it they have no effect.
    "gsslib": _text,
}

#: The other parameters: libpq's, lightvec's, and those of pg8000 that libpq has no name for.
_READERS: Mapping[str, Reader] = {
    **_WITH_VARIABLE,
    "fallback_application_name": _sent,
    "replication": _replication,
    "keepalives": _flag,
    "keepalives_idle": _integer,
    "keepalives_interval": _integer,
    "keepalives_count": _integer,
    "tcp_user_timeout": _integer,
    "sslpassword": _text,
    "command_timeout": _seconds,
    "deadline": _object(callable, "a function without parameters that returns the milliseconds left"),
    "prepare": _flag,
    "unix_sock": _text,
    "sock": _object(lambda value: hasattr(value, "recv_into"), "a connected socket.socket"),
    "ssl_context": _object(
        lambda value: isinstance(value, bool) or hasattr(value, "wrap_socket"), "an ssl.SSLContext, True or False"
    ),
    "timeout": _seconds,
    "source_address": _object(
        lambda value: isinstance(value, tuple) and len(value) == 2, "a tuple of the host and the port to connect from"
    ),
    "startup_params": _startup_params,
}

#: libpq's parameters that are known and not supported, with the values that ask for nothing.
_UNSUPPORTED: Mapping[str, str] = {
    "gssdelegation": "0",
    "gssencmode": "disable prefer",
    "load_balance_hosts": "disable",
    "max_protocol_version": "3.0 3.2 latest",
    "min_protocol_version": "3.0",
    "sslcompression": "0",
    "sslnegotiation": "postgres",
    "sslsni": "1",
    **dict.fromkeys(("oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope", "requirepeer"), ""),
    **dict.fromkeys(("require_auth", "scram_client_key", "scram_server_key", "service", "sslcrl", "sslcrldir"), ""),
    "sslkeylogfile": "",
}

_IRREGULAR = {"dbname": "DATABASE", "connect_timeout": "CONNECT_TIMEOUT", "application_name": "APPNAME"}
#: The parameters by their environment variables.
VARIABLES: Mapping[str, str] = {
    f"PG{_IRREGULAR.get(name, name.replace('_', '').upper())}": name for name in (*_WITH_VARIABLE, *_UNSUPPORTED)
}

_ALIASES: Mapping[str, str] = {"database": "dbname", "tcp_keepalive": "keepalives"}  # Peewee's and pg8000's names


def read(given: Given) -> Any:
    """The value that was given, converted; None or an empty text is the same as not given."""
    if given.name not in _UNSUPPORTED:
        return _READERS[given.name](given)
    harmless = _UNSUPPORTED[given.name].split()
    if given.text().lower() not in ("", *harmless):
        remedy = f"leave it out or say {given.name}={harmless[0]}" if harmless else "leave it out"
        raise InvalidOption(f"{given.name} from {given.source} is not supported by lightvec: {remedy}")
    return None


def canonical(name: str, source: str) -> str:
    """libpq's name of a parameter; :class:`InvalidOption` with the nearest name where there is none.

    >>> canonical("database", "the arguments")
    'dbname'
    >>> canonical("sslmod", "the arguments")
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: 'sslmod' in the arguments is no connection parameter: did you mean sslmode?
    """
    name = _ALIASES.get(name, name)
    if name in _READERS or name in _UNSUPPORTED:
        return name
    import difflib

    near = difflib.get_close_matches(name.lower(), [*_READERS, *_ALIASES], n=1)
    remedy = f"did you mean {near[0]}?" if near else "expected libpq's names, like host, sslmode or options"
    # Anything that does not look like a name may be part of a password with a space in it.
    is_word = name.isascii() and name.replace("_", "").isalpha() and len(name) <= 40
    shown = repr(name) if is_word else "a word that is not shown"
    raise InvalidOption(f"{shown} in {source} is no connection parameter: {remedy}")
