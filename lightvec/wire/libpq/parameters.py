"""The connection parameters: libpq's names, their environment variables, and how values are read.

Source: PostgreSQL 18 documentation, 34.1.2 "Parameter Key Words" and 34.15 "Environment Variables".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lightvec.errors import InvalidOption
from lightvec.wire.identifiers import MAX_BYTES

__all__ = ["SPACES", "VARIABLES", "Given", "canonical"]

#: What C's isspace() accepts; str.strip() strips more.
SPACES = " \t\n\r\f\v"
_INT_MAX = 2**31 - 1

#: Converts a value; ValueError ends the sentence "NAME from SOURCE …".
Reader = Callable[[Any], Any]


class Given(NamedTuple):
    """A parameter's value as it was given; ``source`` is "the arguments", "PGPORT" or the like."""

    name: str
    value: object
    source: str

    def read(self) -> Any:
        """The value, converted; None or an empty text is the same as not given."""
        try:
            return _READERS[self.name](self.value)
        except ValueError as error:
            raise InvalidOption(f"{self.name} from {self.source} {error}") from None


def _refusal(expected: str, got: str | None = None) -> ValueError:
    """Without ``got`` where the value may contain a secret."""
    return ValueError(f"cannot be used: expected {expected}" if got is None else f"is {got!r}, expected {expected}")


def _in_range(text: str, low: int, high: int) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if low <= number <= high else None


def _text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        value = int(value)
    if not isinstance(value, (str, int, float, os.PathLike)):
        raise _refusal(f"text, not an object of class {type(value).__name__}")
    text = str(value)
    if "\0" in text:
        raise _refusal("text without NUL bytes")
    return text


def _sent(value: Any) -> str:
    """A text that is sent to the server."""
    text = _text(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refusal("Unicode text") from None
    return text


def _database(value: Any) -> str:
    text = _sent(value)
    if len(text.encode()) > MAX_BYTES:
        # The server would truncate it, and connect to the database with the short name.
        raise _refusal(f"a name of at most {MAX_BYTES} bytes")
    return text


def _ports(value: Any) -> list[int]:
    texts = _text(value).split(",")
    ports = [port for text in texts if (port := _in_range(text or "5432", 1, 65535))]
    if len(ports) != len(texts):
        # Not shown: in "user:password/database" without a host it is the password.
        raise _refusal("a number from 1 to 65535, or one for each host, separated by commas")
    return ports


def _choice(*words: str) -> Reader:
    def read(value: Any) -> str | None:
        text = _text(value)
        found = [word for word in words if word.lower() == text.lower()]
        if text and not found:
            raise _refusal(f"{', '.join(words[:-1])} or {words[-1]}", text)
        return found[0] if found else None

    return read


def _integer(value: Any) -> int | None:
    text = _text(value)
    number = _in_range(text, -_INT_MAX - 1, _INT_MAX)
    if text and number is None:
        raise _refusal("a whole number", text)
    return number


def _flag(value: Any) -> bool | None:
    number = _integer(value)
    return None if number is None else bool(number)


def _seconds(value: Any) -> float | None:
    text = _text(value)
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = _INT_MAX + 1
    if not seconds <= _INT_MAX:  # NaN, too
        raise _refusal(f"a number of seconds up to {_INT_MAX}, where 0 waits forever", text)
    return seconds if seconds > 0 else None


def _replication(value: Any) -> str | None:
    off = ("false", "off", "no", "0")
    word = _choice("true", "on", "yes", "1", "database", *off)(value)
    return None if word in off else word


def _object(is_valid: Callable[[Any], bool], expected: str) -> Reader:
    def read(value: Any) -> Any:
        if not is_valid(value):
            raise _refusal(expected)
        return value

    return read


def _startup_params(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _refusal("a mapping of names to values")
    params = {str(name): _sent(item) for name, item in value.items()}
    if clash := params.keys() & {"user", "database", "application_name", "replication"}:
        raise ValueError(f"has {min(clash)}: give it as an argument of its own")
    return params


def _only(*harmless: str) -> Reader:
    """For a parameter of libpq that is not supported: the values that ask for nothing."""

    def read(value: Any) -> None:
        if _text(value).lower() not in ("", *harmless):
            remedy = f", or say {harmless[0]}" if harmless else ""
            raise ValueError(f"is not supported by lightvec: leave it out{remedy}")

    return read


#: libpq's parameters that have an environment variable.
_WITH_VARIABLE: Mapping[str, Reader] = {
    "host": _text,
    "hostaddr": _text,
    "port": _ports,
    "dbname": _database,
    "user": _sent,
    "password": lambda value: value if callable(value) else _text(value),
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
    # Without GSSAPI these two have no effect.
    "krbsrvname": _text,
    "gsslib": _text,
    "gssdelegation": _only("0"),
    "gssencmode": _only("disable", "prefer"),
    "load_balance_hosts": _only("disable"),
    "max_protocol_version": _only("latest", "3.0", "3.2"),
    "min_protocol_version": _only("3.0"),
    "sslcompression": _only("0"),
    "sslnegotiation": _only("postgres"),
    "sslsni": _only("1"),
    **dict.fromkeys(("oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope"), _only()),
    **dict.fromkeys(("requirepeer", "require_auth", "scram_client_key", "scram_server_key"), _only()),
    **dict.fromkeys(("service", "sslcrl", "sslcrldir", "sslkeylogfile"), _only()),
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
        lambda value: isinstance(value, bool) or hasattr(value, "wrap_socket"),
        "an ssl.SSLContext, True or False",
    ),
    "timeout": _seconds,
    "source_address": _object(
        lambda value: isinstance(value, tuple) and len(value) == 2,
        "a tuple of the host and the port to connect from",
    ),
    "startup_params": _startup_params,
}

_IRREGULAR = {"dbname": "DATABASE", "connect_timeout": "CONNECT_TIMEOUT", "application_name": "APPNAME"}
#: The parameters by their environment variables.
VARIABLES: Mapping[str, str] = {
    f"PG{_IRREGULAR.get(name, name.replace('_', '').upper())}": name for name in _WITH_VARIABLE
}

_ALIASES = {"database": "dbname", "tcp_keepalive": "keepalives"}  # Peewee's and pg8000's names


def canonical(name: str, source: str) -> str:
    """libpq's name of a parameter; else :class:`InvalidOption` with the nearest name.

    >>> canonical("database", "the arguments")
    'dbname'
    >>> canonical("sslmod", "PGX")
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: 'sslmod' in PGX is no connection parameter: did you mean sslmode?
    """
    name = _ALIASES.get(name, name)
    if name in _READERS:
        return name
    import difflib

    near = difflib.get_close_matches(name.lower(), [*_READERS, *_ALIASES], n=1)
    remedy = f"did you mean {near[0]}?" if near else "expected libpq's names, like host, sslmode or options"
    # Anything that does not look like a name may be part of a password with a space in it.
    is_word = name.isascii() and name.replace("_", "").isalpha() and len(name) <= 40
    shown = repr(name) if is_word else "a word that is not shown"
    raise InvalidOption(f"{shown} in {source} is no connection parameter: {remedy}")
