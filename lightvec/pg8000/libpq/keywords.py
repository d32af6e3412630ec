"""The one table of connection parameters: libpq's name, its environment variable, how its text is read.

Source: PostgreSQL 18 documentation, 34.1.2 "Parameter Key Words" and 34.15 "Environment Variables". Whatever
reads a connection string, an argument or a ``PG*`` variable reads it through this table. A parameter that a
pure-Python client cannot honour is in it too: a value that asks for nothing is accepted, one that asks for
more is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lightvec.errors import InvalidOption
from lightvec.pg8000.identifiers import MAX_BYTES

if TYPE_CHECKING:
    import ssl

__all__ = ["ALIASES", "PARAMETERS", "Given", "Parameter", "canonical", "in_range"]

_INT_MAX = 2**31 - 1  # libpq keeps its numbers in an int
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}(\.[0-9]*)?")


@dataclass(frozen=True)
class Given:
    """A value as someone gave it, and where; ``source`` completes "it came from …"."""

    name: str
    value: object
    source: str

    def refused(self, expected: str) -> InvalidOption:
        """The error that shows the value: only for parameters that hold no secret."""
        return InvalidOption(f"{self.name} from {self.source} is {self.value!r}, expected {expected}")

    def refused_unseen(self, expected: str) -> InvalidOption:
        return InvalidOption(f"{self.name} from {self.source} is not as expected: give {expected}")

    def text(self) -> str:
        """The value as libpq would read it: numbers, booleans and paths become text."""
        value = self.value
        if isinstance(value, bool):
            return str(int(value))
        if isinstance(value, (str, int, float, os.PathLike)):
            text = str(value)
            if "\0" in text:
                raise self.refused_unseen("a value without NUL bytes, which PostgreSQL cannot carry")
            return text
        raise self.refused_unseen(f"text instead of an object of class {type(value).__name__}")


Reader = Callable[[Given], Any]


@dataclass(frozen=True)
class Parameter:
    """One row; ``field`` is the attribute of ``Target`` that it fills, None where that takes more work."""

    name: str
    variable: str | None
    read: Reader
    field: str | None = None


def in_range(text: str, low: int, high: int) -> int | None:
    """The whole number that the text is, if it lies between low and high; else None.

    >>> in_range(" 5432 ", 1, 65535), in_range("65536", 1, 65535), in_range("5e3", 1, 65535)
    (5432, None, None)
    """
    text = text.strip(" \t\n\r\f\v")
    number = int(text) if _WHOLE.fullmatch(text) else low - 1
    return number if low <= number <= high else None


def _text(given: Given) -> str:
    return given.text()


def _sent(given: Given) -> str:
    """A text for the server, where a path may be of whatever bytes the system takes."""
    text = given.text()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise given.refused_unseen("a text that is Unicode") from error
    return text


def _database(given: Given) -> str:
    """The server would cut a longer name off, and connect to whatever database has that one."""
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
            raise given.refused(_listed(words))
        return text or None

    return read


def _whole(given: Given) -> int | None:
    text = given.text()
    number = in_range(text, -_INT_MAX - 1, _INT_MAX) if text else 0
    if number is None:
        raise given.refused("a whole number")
    return number


def _function(given: Given) -> Callable[[], float | None]:
    if callable(given.value):
        return given.value
    raise given.refused_unseen("a function without parameters that gives the milliseconds left")


def _flag(given: Given) -> bool | None:
    return bool(_whole(given)) if given.text() else None


def _seconds(given: Given) -> float | None:
    text = given.text().strip(" \t\n\r\f\v")
    if text and not _NUMBER.fullmatch(text):
        raise given.refused("a number of seconds, where 0 waits for ever")
    seconds = float(text or 0)
    if seconds > _INT_MAX:
        raise given.refused(f"at most {_INT_MAX} seconds, where 0 waits for ever")
    return seconds if seconds > 0 else None


def _encoding(given: Given) -> None:
    text = given.text()
    if re.sub("[^a-z0-9]", "", text.lower()) not in ("", "utf8", "auto", "unicode"):
        raise given.refused("UTF8 or auto: lightvec speaks nothing else")


def _replication(given: Given) -> str | None:
    """Logical and physical replication are startup parameters; what switches them off is left out."""
    text = given.text()
    if text.lower() in ("", "false", "off", "no", "0"):
        return None
    if text.lower() not in ("true", "on", "yes", "1", "database"):
        raise given.refused("true, database or false")
    return text


#: Names of :class:`ssl.TLSVersion`; ssl is loaded where TLS is spoken of, as it takes its time.
_TLS_VERSIONS = MappingProxyType({"tlsv1.2": "TLSv1_2", "tlsv1.3": "TLSv1_3"})


def _tls_version(text: str) -> ssl.TLSVersion | None:
    if text not in _TLS_VERSIONS:
        return None
    import ssl

    return ssl.TLSVersion[_TLS_VERSIONS[text]]


def _least_tls(given: Given) -> ssl.TLSVersion | None:
    """What is older than 1.2 is only allowed by this, not asked for: 1.2 stays the least."""
    text = given.text().lower()
    if text not in ("", "tlsv1", "tlsv1.1", *_TLS_VERSIONS):
        raise given.refused("TLSv1.2 or TLSv1.3")
    return _tls_version(text)


def _greatest_tls(given: Given) -> ssl.TLSVersion | None:
    text = given.text().lower()
    if text and text not in _TLS_VERSIONS:
        raise given.refused("TLSv1.2 or TLSv1.3: older versions are not spoken here")
    return _tls_version(text)


def _tls_context(given: Given) -> ssl.SSLContext:
    import ssl

    if isinstance(given.value, ssl.SSLContext):
        return given.value
    raise given.refused_unseen("an ssl.SSLContext, or leave it out and say sslmode=verify-full or disable")


def _inert(*harmless: str, lacks: str) -> Reader:
    """Reads what lightvec cannot do: values that ask for nothing pass, every other is refused."""

    def read(given: Given) -> None:
        if given.text().lower() not in ("", *harmless):
            remedy = f"leave it out or say {given.name}={harmless[0]}" if harmless else "leave it out"
            raise InvalidOption(f"{given.name} from {given.source} asks for {lacks}: {remedy}")

    return read


def _ignored(given: Given) -> None:
    """Reads what tunes a feature that is never used, so that no value can matter."""


_NO_GSS = "Kerberos (GSSAPI), which a pure-Python client does not speak"
_NO_OAUTH = "OAuth, which lightvec does not speak"
_NO_CRL = "a certificate revocation list, which lightvec does not read"
_NO_KEYS = "a login by SCRAM keys, which lightvec does not do"
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSIONS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")

#: Every parameter of libpq 18 by its name, and three of our own: ``command_timeout``, and ``deadline`` and
#: ``ssl_context``, which can be arguments only.
PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {
        row.name: row
        for row in (
            Parameter("host", "PGHOST", _text),
            Parameter("hostaddr", "PGHOSTADDR", _text),
            Parameter("port", "PGPORT", _text),
            Parameter("dbname", "PGDATABASE", _database, "database"),
            Parameter("user", "PGUSER", _sent, "user"),
            Parameter("password", "PGPASSWORD", _password, "password"),
            Parameter("passfile", "PGPASSFILE", _text),
            Parameter("connect_timeout", "PGCONNECT_TIMEOUT", _seconds, "connect_timeout"),
            Parameter("command_timeout", None, _seconds, "command_timeout"),
            Parameter("deadline", None, _function, "deadline"),
            Parameter("application_name", "PGAPPNAME", _sent, "application_name"),
            Parameter("fallback_application_name", None, _sent),
            Parameter("options", "PGOPTIONS", _sent, "options"),
            Parameter("replication", None, _replication, "replication"),
            Parameter("client_encoding", "PGCLIENTENCODING", _encoding),
            Parameter("target_session_attrs", "PGTARGETSESSIONATTRS", _choice(*_SESSIONS), "target_session_attrs"),
            Parameter(
                "load_balance_hosts",
                "PGLOADBALANCEHOSTS",
                _inert("disable", lacks="hosts tried at random, which lightvec tries in the order given"),
            ),
            Parameter("keepalives", None, _flag, "tcp_keepalives"),
            Parameter("keepalives_idle", None, _whole),
            Parameter("keepalives_interval", None, _whole),
            Parameter("keepalives_count", None, _whole),
            Parameter("tcp_user_timeout", None, _whole),
            Parameter(
                "channel_binding",
                "PGCHANNELBINDING",
                _choice("disable", "prefer", "require"),
                "channel_binding",
            ),
            Parameter("sslmode", "PGSSLMODE", _choice(*_SSLMODES), "sslmode"),
            Parameter("sslrootcert", "PGSSLROOTCERT", _text, "sslrootcert"),
            Parameter("sslcert", "PGSSLCERT", _text, "sslcert"),
            Parameter("sslkey", "PGSSLKEY", _text, "sslkey"),
            Parameter("sslpassword", None, _text, "sslpassword"),
            Parameter("sslcertmode", "PGSSLCERTMODE", _choice("disable", "allow")),
            Parameter("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", _least_tls, "ssl_min_protocol_version"),
            Parameter(
                "ssl_max_protocol_version",
                "PGSSLMAXPROTOCOLVERSION",
                _greatest_tls,
                "ssl_max_protocol_version",
            ),
            Parameter("ssl_context", None, _tls_context, "ssl_context"),
            Parameter(
                "sslnegotiation",
                "PGSSLNEGOTIATION",
                _inert("postgres", lacks="TLS without PostgreSQL's request for it, which lightvec always sends"),
            ),
            Parameter(
                "sslcompression",
                "PGSSLCOMPRESSION",
                _inert("0", lacks="TLS compression, which is unsafe and not done"),
            ),
            Parameter(
                "sslsni",
                "PGSSLSNI",
                _inert("1", lacks="TLS without the server's name, which lightvec always sends"),
            ),
            Parameter("sslcrl", "PGSSLCRL", _inert(lacks=_NO_CRL)),
            Parameter("sslcrldir", "PGSSLCRLDIR", _inert(lacks=_NO_CRL)),
            Parameter("sslkeylogfile", None, _inert(lacks="a log of TLS keys, which lightvec does not write")),
            Parameter(
                "service",
                "PGSERVICE",
                _inert(lacks="a connection service file, which lightvec does not read"),
            ),
            Parameter(
                "requirepeer",
                "PGREQUIREPEER",
                _inert(lacks="a look at the server's user, which lightvec does not take"),
            ),
            Parameter(
                "require_auth",
                "PGREQUIREAUTH",
                _inert(lacks="a choice of login methods, which lightvec leaves to the server"),
            ),
            Parameter(
                "min_protocol_version",
                "PGMINPROTOCOLVERSION",
                _inert("3.0", lacks="a newer protocol than 3.0, which lightvec speaks"),
            ),
            Parameter(
                "max_protocol_version",
                "PGMAXPROTOCOLVERSION",
                _inert("3.0", "3.2", "latest", lacks="an older protocol than 3.0, which lightvec speaks"),
            ),
            Parameter("gssencmode", "PGGSSENCMODE", _inert("disable", "prefer", lacks=_NO_GSS)),
            Parameter("gssdelegation", "PGGSSDELEGATION", _inert("0", lacks=_NO_GSS)),
            Parameter("krbsrvname", "PGKRBSRVNAME", _ignored),
            Parameter("gsslib", "PGGSSLIB", _ignored),
            Parameter("scram_client_key", None, _inert(lacks=_NO_KEYS)),
            Parameter("scram_server_key", None, _inert(lacks=_NO_KEYS)),
            Parameter("oauth_issuer", None, _inert(lacks=_NO_OAUTH)),
            Parameter("oauth_client_id", None, _inert(lacks=_NO_OAUTH)),
            Parameter("oauth_client_secret", None, _inert(lacks=_NO_OAUTH)),
            Parameter("oauth_scope", None, _inert(lacks=_NO_OAUTH)),
        )
    }
)

#: Names that Peewee, pg8000 and lightvec's own ``Target`` use for a parameter of the table.
ALIASES: Mapping[str, str] = MappingProxyType(
    {"database": "dbname", "tcp_keepalive": "keepalives", "tcp_keepalives": "keepalives"}
)


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
    raise InvalidOption(f"{_word(name)} in {source} is no connection parameter: {remedy}")


def _word(name: str) -> str:
    """The name if it looks like one; what does not may be a piece of a password with spaces in it."""
    return repr(name) if re.fullmatch("[A-Za-z_]{1,40}", name) else "a word that is not shown"


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
