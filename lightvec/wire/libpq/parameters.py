"""The table of connection parameters: libpq's name, its environment variable, how its value is read.

Source: PostgreSQL 18 documentation, 34.1.2 "Parameter Key Words" and 34.15 "Environment Variables".
Connection strings, arguments and ``PG*`` variables are all read through :data:`PARAMETERS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lightvec.errors import InvalidOption
from lightvec.wire.identifiers import MAX_BYTES

if TYPE_CHECKING:
    import ssl

__all__ = ["ALIASES", "PARAMETERS", "SPACES", "VARIABLES", "Given", "canonical", "in_range"]

#: What C's isspace() takes for a space; str.strip() strips more.
SPACES = " \t\n\r\f\v"
_INT_MAX = 2**31 - 1  # libpq keeps its numbers in an int


class Given(NamedTuple):
    """A parameter's value as it was given; ``source`` is one of "the arguments", "PGPORT" and so on."""

    name: str
    value: object
    source: str

    def refused(self, expected: str) -> InvalidOption:
        """An error that shows the value: only for parameters that hold no secret."""
        return InvalidOption(f"{self.name} from {self.source} is {self.value!r}, expected {expected}")

    def refused_unseen(self, expected: str) -> InvalidOption:
        """An error that does not show the value."""
        return InvalidOption(f"{self.name} from {self.source} is not as expected: give {expected}")

    def text(self) -> str:
        """The value as libpq would read it: numbers, booleans, paths and bytes become text."""
        value = self.value
        if isinstance(value, (bytes, bytearray)):
            value = value.decode("utf-8", "surrogateescape")
        if isinstance(value, bool):
            return str(int(value))
        if isinstance(value, (str, int, float, os.PathLike)):
            text = str(value)
            if "\0" in text:
                raise self.refused_unseen("a value without NUL bytes, which PostgreSQL cannot carry")
            return text
        raise self.refused_unseen(f"text instead of an object of class {type(value).__name__}")


Reader = Callable[[Given], Any]


def in_range(text: str, low: int, high: int) -> int | None:
    """The whole number that the text is, if it is from low to high; else None.

    >>> in_range(" 5432 ", 1, 65535), in_range("65536", 1, 65535), in_range("5e3", 1, 65535)
    (5432, None, None)
    """
    text = text.strip(SPACES)
    digits = text[1:] if text[:1] in ("+", "-") else text
    number = int(text) if _is_digits(digits) and len(digits) <= 10 else low - 1
    return number if low <= number <= high else None


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _sent(given: Given) -> str:
    """A text that goes to the server."""
    text = given.text()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise given.refused_unseen("a text that is Unicode") from error
    return text


def _database(given: Given) -> str:
    """The server would truncate a longer name, and connect to the database that has the short one."""
    text = _sent(given)
    if len(text.encode()) > MAX_BYTES:
        raise given.refused_unseen(f"a name of at most {MAX_BYTES} bytes")
    return text


def _password(given: Given) -> str | Callable[[], str]:
    return given.value if callable(given.value) else given.text()


def _choice(*words: str) -> Reader:
    def read(given: Given) -> str | None:
        text = given.text()
        if text and text not in words:
            raise given.refused(f"{', '.join(words[:-1])} or {words[-1]}")
        return text or None

    return read


def _whole(given: Given) -> int | None:
    text = given.text()
    number = in_range(text, -_INT_MAX - 1, _INT_MAX) if text else 0
    if number is None:
        raise given.refused("a whole number")
    return number


def _flag(given: Given) -> bool | None:
    return bool(_whole(given)) if given.text() else None


def _function(given: Given) -> Callable[[], float | None]:
    if callable(given.value):
        return given.value
    raise given.refused_unseen("a function without parameters that returns the milliseconds left")


def _seconds(given: Given) -> float | None:
    text = given.text().strip(SPACES)
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    whole, _, fraction = unsigned.partition(".")
    if text and not (_is_digits(whole) and len(whole) <= 10 and _is_digits(f"0{fraction}")):
        raise given.refused("a number of seconds, where 0 waits forever")
    seconds = float(text or 0)
    if seconds > _INT_MAX:
        raise given.refused(f"at most {_INT_MAX} seconds, where 0 waits forever")
    return seconds if seconds > 0 else None


def _encoding(given: Given) -> None:
    name = "".join(filter(str.isalnum, given.text().lower()))
    if name not in ("", "utf8", "auto", "unicode"):
        raise given.refused("UTF8 or auto: lightvec connects with no other encoding")


def _replication(given: Given) -> str | None:
    text = given.text()
    if text.lower() in ("", "false", "off", "no", "0"):
        return None
    if text.lower() not in ("true", "on", "yes", "1", "database"):
        raise given.refused("true, database or false")
    return text


def _tls_version(*, least: bool) -> Reader:
    """Older versions than 1.2 are never used; as the least, they are allowed and mean 1.2."""
    unused = ("", "tlsv1", "tlsv1.1") if least else ("",)

    def read(given: Given) -> ssl.TLSVersion | None:
        text = given.text().lower()
        if text in unused:
            return None
        if text not in ("tlsv1.2", "tlsv1.3"):
            raise given.refused("TLSv1.2 or TLSv1.3")
        import ssl  # 5 ms, which connections without TLS do not need.

        return ssl.TLSVersion[f"TLSv1_{text[-1]}"]

    return read


def _tls_context(given: Given) -> ssl.SSLContext | bool:
    if isinstance(given.value, bool):
        return given.value
    import ssl

    if isinstance(given.value, ssl.SSLContext):
        return given.value
    raise given.refused_unseen("an ssl.SSLContext, True or False, or use sslmode")


def _socket(given: Given) -> Any:
    if hasattr(given.value, "recv_into") and hasattr(given.value, "getpeername"):
        return given.value
    raise given.refused_unseen("a connected socket.socket")


def _address(given: Given) -> tuple[str, int]:
    value = given.value
    if isinstance(value, tuple) and len(value) == 2:
        return value
    raise given.refused("a pair of a host and a port to connect from, where port 0 is any")


def _mapping(given: Given) -> dict[str, str]:
    if not isinstance(given.value, Mapping):
        raise given.refused_unseen("a mapping of names to values")
    read = {str(name): _sent(Given(str(name), value, given.name)) for name, value in given.value.items()}
    if clash := read.keys() & {"user", "database", "application_name", "replication"}:
        raise InvalidOption(f"{sorted(clash)[0]} is given in {given.name}: give it as an argument of its own")
    return read


def _unsupported(*harmless: str) -> Reader:
    """Reads what lightvec does not support: only values that ask for nothing pass."""

    def read(given: Given) -> None:
        if given.text().lower() not in ("", *harmless):
            remedy = f"leave it out or say {given.name}={harmless[0]}" if harmless else "leave it out"
            raise InvalidOption(f"{given.name} from {given.source} is not supported by lightvec: {remedy}")

    return read


def _ignored(given: Given) -> None:
    """Reads an option of a feature that is not used, whatever its value."""


_text: Reader = Given.text

#: The parameters of libpq 18 that an environment variable gives, too, with their readers.
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
    "client_encoding": _encoding,
    "target_session_attrs": _choice("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "channel_binding": _choice("disable", "prefer", "require"),
    "sslmode": _choice("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslrootcert": _text,
    "sslcert": _text,
    "sslkey": _text,
    "sslcertmode": _choice("disable", "allow"),
    "ssl_min_protocol_version": _tls_version(least=True),
    "ssl_max_protocol_version": _tls_version(least=False),
    "load_balance_hosts": _unsupported("disable"),
    "sslnegotiation": _unsupported("postgres"),
    "sslcompression": _unsupported("0"),
    "sslsni": _unsupported("1"),
    "sslcrl": _unsupported(),
    "sslcrldir": _unsupported(),
    "service": _unsupported(),
    "requirepeer": _unsupported(),
    "require_auth": _unsupported(),
    "min_protocol_version": _unsupported("3.0"),
    "max_protocol_version": _unsupported("3.0", "3.2", "latest"),
    "gssencmode": _unsupported("disable", "prefer"),
    "gssdelegation": _unsupported("0"),
    "krbsrvname": _ignored,
    "gsslib": _ignored,
}
_VARIABLE_NAMES = {
    "dbname": "PGDATABASE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
}

#: Every parameter by its name: libpq's, then lightvec's, then those of pg8000 that libpq has no name for.
PARAMETERS: Mapping[str, Reader] = {
    **_WITH_VARIABLE,
    "fallback_application_name": _sent,
    "replication": _replication,
    "keepalives": _flag,
    "keepalives_idle": _whole,
    "keepalives_interval": _whole,
    "keepalives_count": _whole,
    "tcp_user_timeout": _whole,
    "sslpassword": _text,
    "sslkeylogfile": _unsupported(),
    "scram_client_key": _unsupported(),
    "scram_server_key": _unsupported(),
    "oauth_issuer": _unsupported(),
    "oauth_client_id": _unsupported(),
    "oauth_client_secret": _unsupported(),
    "oauth_scope": _unsupported(),
    # lightvec's
    "command_timeout": _seconds,
    "deadline": _function,
    "prepare": _flag,
    # pg8000's
    "unix_sock": _text,
    "sock": _socket,
    "ssl_context": _tls_context,
    "timeout": _seconds,
    "source_address": _address,
    "startup_params": _mapping,
}

#: The parameters by the names of their environment variables: most are PG and the name in capitals.
VARIABLES: Mapping[str, str] = {
    _VARIABLE_NAMES.get(name, f"PG{name.replace('_', '').upper()}"): name for name in _WITH_VARIABLE
}

#: Names that Peewee, pg8000 and lightvec's own ``Target`` use for a parameter of the table.
ALIASES: Mapping[str, str] = {
    "database": "dbname",
    "tcp_keepalive": "keepalives",
    "tcp_keepalives": "keepalives",
}


def canonical(name: str, source: str) -> str:
    """libpq's name of a parameter; :class:`InvalidOption` with the nearest name where there is none.

    >>> canonical("database", "the arguments")
    'dbname'
    >>> canonical("sslmod", "the arguments")
    Traceback (most recent call last):
    lightvec.errors.InvalidOption: 'sslmod' in the arguments is no connection parameter: did you mean sslmode?
    """
    name = ALIASES.get(name, name)
    if name in PARAMETERS:
        return name
    import difflib

    near = difflib.get_close_matches(name.lower(), [*PARAMETERS, *ALIASES], n=1)
    remedy = f"did you mean {near[0]}?" if near else "expected libpq's names, like host, sslmode or options"
    # What does not look like a name may be part of a password with a space in it.
    is_word = name.isascii() and name.replace("_", "").isalpha() and len(name) <= 40
    shown = repr(name) if is_word else "a word that is not shown"
    raise InvalidOption(f"{shown} in {source} is no connection parameter: {remedy}")
