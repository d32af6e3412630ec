"""A connection string, arguments and the environment become one value: :class:`Target`.

Source: PostgreSQL 18 documentation, 34.1 "Database Connection Control Functions", 34.15 and 34.16. What a
stronger source lacks comes from the next weaker one:

1. arguments,
2. the connection string,
3. ``DATABASE_URL``, only where neither of these names a host,
4. the ``PG*`` variables, and for a password the password file,
5. libpq's defaults.

A secret belongs to its host. So ``DATABASE_URL`` is not looked at when a stronger source names the host, its
password is not used for another user than its own, ``host`` and ``hostaddr`` come from the same source, and
the embedded server takes nothing from the environment. Otherwise the ``PG*`` variables do what they do in
libpq.

One default differs from libpq's: ``sslmode`` is ``verify-full`` as soon as one host is not this machine.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightvec.errors import InvalidOption
from lightvec.pg8000.libpq import conninfo, passfile
from lightvec.pg8000.libpq.keywords import PARAMETERS, Given, canonical, in_range

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "Target", "resolve"]

_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # Debian's, then PostgreSQL's own default
_SECRETS = frozenset({"password", "sslpassword"})
_ARGUMENTS, _STRING, _URL = "the arguments", "the connection string", "DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Address:
    """Where one server listens: a host and port, or a socket folder (a host that begins with ``/``).

    ``hostaddr`` is where to connect instead of looking ``host`` up; the certificate must still name ``host``.
    ``password`` is what the password file has for this host.

    >>> str(Address("db.example", 5432)), str(Address("/tmp", 5432))
    ('db.example port 5432', 'socket /tmp/.s.PGSQL.5432')
    """

    host: str
    port: int
    hostaddr: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def socket_path(self) -> str | None:
        """The path of the Unix socket; None over TCP."""
        if self.hostaddr or not self.host.startswith("/"):
            return None
        return f"{self.host.rstrip('/')}/.s.PGSQL.{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether what is sent stays on this machine: a Unix socket, ``localhost`` or a loopback address.

        >>> Address("127.0.0.1", 5432).is_local, Address("127.0.0.1.example", 5432).is_local
        (True, False)
        """
        where = self.hostaddr or self.host
        return self.socket_path is not None or where.lower() == "localhost" or _is_loopback(where)

    def __str__(self) -> str:
        if self.socket_path:
            return f"socket {self.socket_path}"
        where = f" ({self.hostaddr})" if self.hostaddr not in (None, self.host) else ""
        return f"{self.host}{where} port {self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """Everything that is needed to connect, with no source left to ask. Its ``repr`` masks secrets.

    ``connect_timeout`` is in seconds for each host, ``command_timeout`` for each statement; None waits for ever.
    ``deadline`` gives the milliseconds left for all. ``sslrootcert`` is a file, ``"system"`` or None, which is the
    system's trust store where verification is asked for. For ``embedded:PATH``, ``embedded`` is the path, ``hosts`` is
    empty, and what was not given is empty: see :meth:`served_at`.
    """

    hosts: tuple[Address, ...]
    user: str
    database: str
    password: str | Callable[[], str] | None = None
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: str | None = None
    ssl_min_protocol_version: ssl.TLSVersion | None = None
    ssl_max_protocol_version: ssl.TLSVersion | None = None
    ssl_context: ssl.SSLContext | None = None
    channel_binding: str = "prefer"
    connect_timeout: float | None = None
    command_timeout: float | None = None
    deadline: Callable[[], float | None] | None = None
    application_name: str = ""
    options: str = ""
    replication: str | None = None
    target_session_attrs: str = "any"
    tcp_keepalives: bool = True
    tcp_options: tuple[tuple[str, int], ...] = ()
    embedded: Path | None = None
    #: Whether anybody said where the server is; else it is where one usually is.
    is_named: bool = True

    @property
    def startup(self) -> dict[str, str]:
        """What the StartupMessage carries beside user and database; nothing that was not asked for."""
        wanted = {
            "application_name": self.application_name,
            "options": self.options,
            "replication": self.replication,
        }
        return {name: value for name, value in wanted.items() if value}

    def password_for(self, address: Address) -> str | None:
        """The password to send to this host; a callable is asked each time, so that tokens are fresh."""
        if not callable(self.password):
            return self.password or address.password
        answer = self.password()
        if isinstance(answer, str):
            return answer
        raise InvalidOption(f"the password callable returned {type(answer).__name__}, expected str")

    def served_at(self, url: str) -> Target:
        """This embedded target on the server that was started for it; its URL gives what is missing."""
        server = resolve(url, environ={})
        return replace(
            self,
            hosts=server.hosts,
            user=self.user or server.user,
            database=self.database or server.database,
            password=self.password or server.password,
            embedded=None,
        )

    def __repr__(self) -> str:
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        shown = (f"{name}={'***' if value and name in _SECRETS else repr(value)}" for name, value in values)
        return f"Target({', '.join(shown)})"


def resolve(dsn: str | None = None, *, environ: Mapping[str, str] = os.environ, **params: object) -> Target:
    """The target that a connection string, arguments and the environment describe together.

    ``dsn`` is a libpq URI or keyword string, ``embedded:PATH`` (``embedded:`` alone is ``./.lightvec``) or a
    database name. ``params`` have libpq's names, also ``database`` for ``dbname`` and ``ssl_context``; None
    is the same as not given. What cannot be used is :class:`~lightvec.errors.InvalidOption`; no error shows a
    password.

    >>> target = resolve("postgresql://me:secret@db.example/shop", environ={}, connect_timeout=5)
    >>> target.hosts[0].port, target.database, target.sslmode, target.connect_timeout
    (5432, 'shop', 'verify-full', 5.0)
    >>> "secret" in repr(target)
    False
    """
    given = _gathered(dsn, params, environ)
    read = {name: PARAMETERS[name].read(item) for name, item in given.items() if name in PARAMETERS}
    filled: dict[str, Any] = {
        row.field: read.get(row.name) for row in PARAMETERS.values() if row.field and read.get(row.name)
    }
    filled["tcp_keepalives"] = read.get("keepalives") is not False
    filled["tcp_options"] = tuple(_tcp_options(read))
    filled["application_name"] = read.get("application_name") or read.get("fallback_application_name") or ""
    if "embedded" in given:
        path = _folder(given["embedded"].text() or ".lightvec")
        filled = {"hosts": (), "user": "", "database": ""} | filled
        return Target(**filled, embedded=path)
    return _completed(filled, read, given, environ)


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidOption("embedded: names the home of a user that is not known here: write the path out") from error


def _completed(
    filled: dict[str, Any], read: Mapping[str, Any], given: Mapping[str, Given], environ: Mapping[str, str]
) -> Target:
    """libpq's defaults for what nobody gave."""
    filled["user"] = filled.get("user") or _system_user()
    filled.setdefault("database", filled["user"])
    hosts = _addresses(read, given)
    if not filled.get("password"):
        hosts = tuple(_with_passwords(hosts, filled["user"], filled["database"], read, environ))
    is_named = not given.keys().isdisjoint({"host", "hostaddr", "port"})
    return Target(**filled | {"hosts": hosts} | _tls(filled, read, hosts, environ), is_named=is_named)


# --- who said what ------------------------------------------------------------------------------------------


def _gathered(dsn: str | None, params: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, Given]:
    """Each parameter from the strongest source that has it."""
    arguments = _arguments(params)
    given = _merged(arguments, _string(dsn, _STRING))
    if not _names_host(given):
        given = _merged(given, _url(given, environ))
    if "embedded" not in given:
        return _merged(given, _variables(environ))
    if clash := given.keys() & {"host", "hostaddr", "port"}:
        raise InvalidOption(f"embedded: brings its own server: leave {' and '.join(sorted(clash))} out")
    return given


def _arguments(params: Mapping[str, object]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for spelling, value in params.items():
        name = canonical(spelling, _ARGUMENTS)
        if value is not None and given.setdefault(name, Given(name, value, _ARGUMENTS)).value != value:
            raise InvalidOption(f"{name} is given twice in the arguments, as {spelling} too: leave one out")
    return given


def _string(dsn: object, source: str) -> dict[str, Given]:
    if dsn is None:
        return {}
    if not isinstance(dsn, str):
        raise InvalidOption(f"{source} is of class {type(dsn).__name__}, expected str")
    return {name: Given(name, value, source) for name, value in conninfo.parse(dsn, source).items()}


def _url(given: Mapping[str, Given], environ: Mapping[str, str]) -> dict[str, Given]:
    url = _string(environ.get("DATABASE_URL") or None, _URL)
    user, own = given.get("user"), url.get("user")
    if user and own and user.value != own.value:
        url.pop("password", None)
    return url


def _variables(environ: Mapping[str, str]) -> dict[str, Given]:
    return {
        row.name: Given(row.name, environ[row.variable], row.variable)
        for row in PARAMETERS.values()
        if row.variable and row.variable in environ
    }


def _merged(strong: Mapping[str, Given], weak: Mapping[str, Given]) -> dict[str, Given]:
    place = {"host", "hostaddr"} if _names_host(strong) else set()
    return {name: item for name, item in weak.items() if name not in place} | dict(strong)


def _names_host(given: Mapping[str, Given]) -> bool:
    return not given.keys().isdisjoint({"host", "hostaddr", "embedded"})


# --- hosts --------------------------------------------------------------------------------------------------


def _addresses(read: Mapping[str, Any], given: Mapping[str, Given]) -> tuple[Address, ...]:
    """Hosts, their addresses and ports as libpq pairs them: as many of each, or one port for all."""
    names, addresses = _list(read.get("host")), _list(read.get("hostaddr"))
    if names and addresses and len(names) != len(addresses):
        raise InvalidOption(f"{len(names)} hosts but {len(addresses)} values of hostaddr: give as many of each")
    count = len(names) or len(addresses) or 1
    ports = _ports(given["port"], count) if "port" in given else [5432] * count
    rows = zip(names or [""] * count, addresses or [""] * count, ports, strict=True)
    return tuple(_address(host, hostaddr, port) for host, hostaddr, port in rows)


def _list(text: str | None) -> list[str]:
    return [part.strip(" ") for part in text.split(",")] if text else []


def _ports(given: Given, count: int) -> list[int]:
    texts = given.text().split(",")
    if len(texts) not in (1, count):
        raise InvalidOption(f"{len(texts)} ports but {count} hosts: give one port for all or one for each")
    ports = [in_range(text or "5432", 1, 65535) for text in texts]
    if None in ports:
        raise given.refused("a number from 1 to 65535, or one for each host with commas between")
    return [port for port in ports if port is not None] * (count // len(ports))


def _address(host: str, hostaddr: str, port: int) -> Address:
    if host.startswith("@"):
        raise InvalidOption(
            "the host begins with @ (an abstract socket), which is not supported: give the socket's folder"
        )
    if hostaddr and not _is_ip(hostaddr):
        raise InvalidOption(f"hostaddr is {hostaddr!r}, expected an IP address: give a name as host instead")
    return Address(host or hostaddr or _default_host(port), port, hostaddr or None)


def _default_host(port: int) -> str:
    found = (folder for folder in _SOCKET_FOLDERS if Path(folder, f".s.PGSQL.{port}").is_socket())
    return next(found, "localhost")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return _is_ip(text) and ipaddress.ip_address(text).is_loopback


def _tcp_options(read: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Socket options by their names in :mod:`socket`; zero is the system's default, as in libpq."""
    names = {
        "keepalives_idle": "TCP_KEEPIDLE",
        "keepalives_interval": "TCP_KEEPINTVL",
        "keepalives_count": "TCP_KEEPCNT",
        "tcp_user_timeout": "TCP_USER_TIMEOUT",
    }
    return ((option, read[name]) for name, option in names.items() if (read.get(name) or 0) > 0)


# --- who we are ---------------------------------------------------------------------------------------------


def _system_user() -> str:
    """The name of the user that runs this process; not ``$USER``, which libpq does not look at either."""
    try:
        if os.name == "nt":
            import getpass

            return getpass.getuser()
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError, OSError):
        raise InvalidOption("this process runs as a user without a name: give user= or set PGUSER") from None


def _with_passwords(
    hosts: Iterable[Address], user: str, database: str, read: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Address]:
    path = read.get("passfile") or _default_passfile(environ)
    lines = passfile.entries(Path(path)) if path else []
    for address in hosts:
        # libpq looks its default socket folder up as "localhost".
        name = "localhost" if address.host in _SOCKET_FOLDERS else address.host
        yield replace(address, password=passfile.find(lines, name, address.port, database, user))


def _default_passfile(environ: Mapping[str, str]) -> Path | None:
    folder = _settings_folder(environ)
    if folder is None:
        return None
    return folder / "pgpass.conf" if os.name == "nt" else folder.parent / ".pgpass"


def _settings_folder(environ: Mapping[str, str]) -> Path | None:
    """``~/.postgresql``, where libpq keeps certificates (on Windows ``%APPDATA%\\postgresql``); None without a home."""
    if os.name == "nt":
        return Path(environ.get("APPDATA", "."), "postgresql")
    try:
        return Path(environ.get("HOME") or Path.home(), ".postgresql")
    except RuntimeError:  # An account without a name has none, as in containers that are given just a number.
        return None


# --- TLS ----------------------------------------------------------------------------------------------------


def _tls(
    filled: Mapping[str, Any], read: Mapping[str, Any], hosts: Iterable[Address], environ: Mapping[str, str]
) -> dict[str, Any]:
    """The mode, and libpq's default files where they exist."""
    folder, remote = _settings_folder(environ), [address for address in hosts if not address.socket_path]
    rootcert = filled.get("sslrootcert") or _existing(folder, "root.crt")
    sslmode = _sslmode(filled, all(address.is_local for address in remote))
    if sslmode == "verify-ca" and not rootcert and remote and "ssl_context" not in filled:
        raise InvalidOption(
            "sslmode=verify-ca without sslrootcert would take any host's certificate from any public "
            "authority: give sslrootcert=FILE, or say sslmode=verify-full"
        )
    certificate = filled.get("sslcert") or _existing(folder, "postgresql.crt")
    if read.get("sslcertmode") == "disable":
        certificate = None
    key = filled.get("sslkey") or _existing(folder, "postgresql.key")
    return {
        "sslmode": sslmode,
        "sslrootcert": rootcert,
        "sslcert": certificate,
        "sslkey": key if certificate else None,
    }


def _existing(folder: Path | None, name: str) -> str | None:
    # Not Path.is_file, which raises where the home is closed to this account: another one's, as under sudo -E.
    path = folder and str(folder / name)
    return path if path and os.path.isfile(path) else None  # noqa: PTH113


def _sslmode(filled: Mapping[str, Any], local: bool) -> str:
    asked = filled.get("sslmode")
    if "ssl_context" in filled:
        if asked == "disable":
            raise InvalidOption("ssl_context is given and sslmode is disable: leave one of them out")
        return asked or "require"  # what is verified, the context says
    if filled.get("sslrootcert") == "system" and asked not in (None, "disable", "verify-full"):
        raise InvalidOption(f"sslrootcert=system with sslmode={asked} would verify too little: say sslmode=verify-full")
    if asked:
        return str(asked)
    return "prefer" if local and filled.get("sslrootcert") != "system" else "verify-full"
