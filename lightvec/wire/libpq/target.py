"""A connection string, arguments and the environment become one value: :class:`Target`.

Source: PostgreSQL 18 documentation, 34.1, 34.15 and 34.16. A parameter comes from the first of
these that has it: arguments; the connection string; ``DATABASE_URL``, where neither names a host;
the ``PG*`` variables and the password file; libpq's defaults.

A secret belongs to its host. So the password of ``DATABASE_URL`` is not used for a user other than
its own, ``host`` and ``hostaddr`` come from the same source, and the embedded server takes nothing
from the environment.

One default differs from libpq's: ``sslmode`` is ``verify-full`` as soon as one host is not local.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lightvec.errors import InvalidOption
from lightvec.wire.errors import InterfaceError
from lightvec.wire.libpq import conninfo
from lightvec.wire.libpq.parameters import VARIABLES, Given, canonical

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

__all__ = ["Address", "Target", "pg8000_target", "resolve"]

_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # Debian's, then PostgreSQL's own default
_SECRETS = ("password", "sslpassword")
#: The parameters that name a server, so that no weaker source may.
_PLACES = {"host", "hostaddr", "unix_sock", "sock", "embedded"}


class Address(NamedTuple):
    """Where one server listens: a host and port; a host that begins with ``/`` is a socket folder.

    ``hostaddr`` is the IP address to connect to, while the certificate must name ``host``.
    ``password`` is that of the password file; ``path`` is a Unix socket's own.

    >>> str(Address("db.example", 5432)), str(Address("/tmp", 5432))
    ('db.example port 5432', 'socket /tmp/.s.PGSQL.5432')
    """

    host: str
    port: int
    hostaddr: str | None = None
    password: str | None = None
    path: str | None = None

    @property
    def socket_path(self) -> str | None:
        """The path of the Unix socket; None over TCP."""
        if self.path or self.hostaddr or not self.host.startswith("/"):
            return self.path
        return f"{self.host.rstrip('/')}/.s.PGSQL.{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nothing that is sent leaves this machine.

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

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


class Target(NamedTuple):
    """Everything that is needed to connect. Its ``repr`` masks secrets.

    ``connect_timeout`` is in seconds for each host, ``command_timeout`` for each statement;
    ``deadline`` returns the milliseconds left for everything. ``is_named`` is false for the default
    server. For ``embedded:PATH``, ``embedded`` is the path and ``hosts`` is empty.
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
    ssl_min_protocol_version: str | None = None
    ssl_max_protocol_version: str | None = None
    ssl_context: ssl.SSLContext | None = None
    channel_binding: str = "prefer"
    connect_timeout: float | None = None
    command_timeout: float | None = None
    deadline: Callable[[], float | None] | None = None
    application_name: str = ""
    options: str = ""
    replication: str | None = None
    startup_params: Mapping[str, str] | None = None
    target_session_attrs: str = "any"
    prepare: bool = True
    keepalives: bool = True
    keepalives_idle: int = 0
    keepalives_interval: int = 0
    keepalives_count: int = 0
    tcp_user_timeout: int = 0
    source_address: tuple[str, int] | None = None
    sock: Any = None
    embedded: Path | None = None
    is_named: bool = True

    @property
    def startup(self) -> dict[str, str]:
        """The StartupMessage's parameters beside user and database."""
        names = ("application_name", "options", "replication")
        return {name: value for name in names if (value := getattr(self, name))} | dict(self.startup_params or {})

    def password_for(self, address: Address) -> str | None:
        """The password for this host; a function is called each time, so that tokens are fresh."""
        if not callable(self.password):
            return self.password or address.password
        answer = self.password()
        if isinstance(answer, str):
            return answer
        raise InvalidOption(f"the password callable returned {type(answer).__name__}, expected str")

    def served_at(self, url: str) -> Target:
        """This embedded target, completed by the URL of the server that was started for it."""
        server = resolve(url, environ={})
        return self._replace(
            hosts=server.hosts,
            user=self.user or server.user,
            database=self.database or server.database,
            password=self.password or server.password,
            embedded=None,
        )

    def __repr__(self) -> str:
        given = (item for item in self._asdict().items() if item[1] != self._field_defaults.get(item[0]))
        shown = (f"{name}={'***' if name in _SECRETS else repr(value)}" for name, value in given)
        return f"Target({', '.join(shown)})"


def resolve(dsn: str | None = None, *, environ: Mapping[str, str] = os.environ, **params: object) -> Target:
    """The target that a connection string, arguments and the environment describe together.

    ``dsn`` is a libpq URI or keyword string, a database name, or ``embedded:PATH`` (the default path
    is ``./.lightvec``). ``params`` have libpq's names, lightvec's (``command_timeout deadline
    prepare``) or pg8000's; None is the same as not given. Invalid ones are
    :class:`~lightvec.errors.InvalidOption`; no error shows a password.

    >>> target = resolve("postgresql://me:secret@db.example/shop", environ={}, connect_timeout=5)
    >>> target.hosts[0].port, target.database, target.sslmode, target.connect_timeout
    (5432, 'shop', 'verify-full', 5.0)
    >>> "secret" in repr(target)
    False
    """
    given = _gather(dsn, params, environ)
    embedded = given.pop("embedded", None)
    values = {name: value for name, item in given.items() if (value := item.read()) not in (None, "")}
    values.setdefault("application_name", values.get("fallback_application_name", ""))
    for name in ("connect_timeout", "command_timeout"):
        values.setdefault(name, values.get("timeout"))
    if embedded is not None:
        values |= {"hosts": (), "embedded": _folder(str(embedded.value) or ".lightvec"), "ssl_context": None}
        values |= {"user": values.get("user", ""), "database": values.get("dbname", "")}
    else:
        values["is_named"] = not given.keys().isdisjoint(_PLACES | {"port"})
        values["user"] = values.get("user") or _system_user()
        values["database"] = values.get("dbname", values["user"])
        values["hosts"] = _addresses(values)
        if "password" not in values:
            values["hosts"] = _with_passwords(values, environ)
        values |= _tls(values, environ)
    return Target(**{name: value for name, value in values.items() if name in Target._fields})


def pg8000_target(**params: object) -> Target:
    """The target of pg8000's parameters, as :class:`lightvec.pg8000.Connection` takes them.

    As in pg8000, the ``PG*`` variables and ``DATABASE_URL`` are not read. The password file and the
    default files in ``~/.postgresql`` are.
    """
    if params.get("user") is None:
        raise InterfaceError("expected a user, got None: give the name of a role")
    sock, unix_sock, host = map(params.get, ("sock", "unix_sock", "host"))
    if sock is unix_sock is host is None:
        raise InterfaceError("expected a host, unix_sock or sock, got None: give one of them")
    if sock is not None and unix_sock is not None:
        raise InterfaceError("expected unix_sock or sock, got both: leave one of them out")
    if unix_sock is not None:
        params["host"] = None  # pg8000 connects to "localhost" by default.
    environ = {name: os.environ[name] for name in ("HOME", "APPDATA") if name in os.environ}
    return resolve(None, environ=environ, **params)


# --- sources --------------------------------------------------------------------------------------


def _gather(dsn: str | None, params: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, Given]:
    """Each parameter from the strongest source that has it."""
    # Beside a socket, the string's host is the name that is verified.
    given = _merge(_arguments(params), _string(dsn, "the connection string"), _PLACES - {"sock"})
    if given.keys().isdisjoint(_PLACES):
        url = _string(environ.get("DATABASE_URL") or None, "DATABASE_URL")
        if "user" in given and "user" in url and given["user"].value != url["user"].value:
            url.pop("password", None)
        given = url | given
    if "embedded" not in given:
        variables = ((name, variable) for variable, name in VARIABLES.items() if variable in environ)
        return _merge(given, {name: Given(name, environ[variable], variable) for name, variable in variables})
    if clash := given.keys() & (_PLACES - {"embedded"} | {"port"}):
        raise InvalidOption(f"embedded: brings its own server: leave {' and '.join(sorted(clash))} out")
    return given


def _arguments(params: Mapping[str, object]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for spelling, value in params.items():
        name = canonical(spelling, "the arguments")
        if value is not None and given.setdefault(name, Given(name, value, "the arguments")).value != value:
            raise InvalidOption(f"{name} is given twice in the arguments, as {spelling} too: leave one out")
    return given


def _string(dsn: object, source: str) -> dict[str, Given]:
    if dsn is None:
        return {}
    if not isinstance(dsn, str):
        raise InvalidOption(f"{source} is of class {type(dsn).__name__}, expected str")
    return {name: Given(name, value, source) for name, value in conninfo.parse(dsn, source).items()}


def _merge(strong: dict[str, Given], weak: dict[str, Given], places: set[str] = _PLACES) -> dict[str, Given]:
    """Both, ``strong`` first; without the weak host where the strong source names a place."""
    if not strong.keys().isdisjoint(places):
        weak = {name: item for name, item in weak.items() if name not in ("host", "hostaddr")}
    return weak | strong


# --- hosts ----------------------------------------------------------------------------------------


def _addresses(values: Mapping[str, Any]) -> tuple[Address, ...]:
    """As in libpq: as many hosts as addresses and ports, or one port for all."""
    names, addresses = ([part.strip(" ") for part in values.get(name, "").split(",")] for name in ("host", "hostaddr"))
    if "sock" in values:
        return (_peer(values["sock"], names[0]),)
    if "host" in values and "hostaddr" in values and len(names) != len(addresses):
        raise InvalidOption(f"{len(names)} hosts but {len(addresses)} values of hostaddr: give as many of each")
    count = max(len(names), len(addresses))
    ports = values.get("port", [5432])
    if len(ports) not in (1, count):
        raise InvalidOption(f"{len(ports)} ports but {count} hosts: give one port for all or one for each")
    ports *= count // len(ports)
    if "unix_sock" in values:
        path = values["unix_sock"]
        return (Address(os.path.dirname(path), ports[0], path=path),)
    return tuple(map(_address, names * (count // len(names)), addresses * (count // len(addresses)), ports))


def _address(host: str, hostaddr: str, port: int) -> Address:
    if host.startswith("@"):
        raise InvalidOption("the host begins with @ (an abstract socket), which is not supported: give a folder")
    if hostaddr and not _packed(hostaddr):
        raise InvalidOption(f"hostaddr is {hostaddr!r}, expected an IP address: give a name as host instead")
    return Address(host or hostaddr or _default_host(port), port, hostaddr or None)


def _peer(sock: Any, host: str) -> Address:
    try:
        peer = sock.getpeername()
    except OSError:
        raise InvalidOption("sock is not connected: give an open socket") from None
    if isinstance(peer, tuple):
        return Address(host or str(peer[0]), int(peer[1]), str(peer[0]))
    return Address(host or "localhost", 5432, path=str(peer or "(without a name)"))


def _default_host(port: int) -> str:
    """The first default folder that has a socket, else localhost."""
    found = (folder for folder in _SOCKET_FOLDERS if os.path.exists(f"{folder}/.s.PGSQL.{port}"))
    return next(found, "localhost")


def _packed(address: str) -> bytes:
    """The bytes of an IP address, else none. The module ipaddress takes 2 ms to load."""
    for family, text in ((socket.AF_INET, address), (socket.AF_INET6, address.partition("%")[0])):
        try:
            return socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return b""


def _is_loopback(address: str) -> bool:
    packed = _packed(address)
    return packed == b"\0" * 15 + b"\x01" or (len(packed) == 4 and packed[0] == 127)


# --- the user, and files in the home folder -------------------------------------------------------


def _system_user() -> str:
    """The user that runs this process; not ``$USER``, which libpq does not read either."""
    try:
        if os.name == "nt":
            import getpass

            return getpass.getuser()
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError, OSError):
        raise InvalidOption("this process runs as a user without a name: give user= or set PGUSER") from None


def _folder(text: str) -> Path:
    from pathlib import Path

    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidOption("embedded: names the home of an unknown user: write the path out") from None


def _with_passwords(values: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Address, ...]:
    """The hosts with their passwords in the password file."""
    hosts: tuple[Address, ...] = values["hosts"]
    path = values.get("passfile")
    if not path and (folder := _settings_folder(environ)):
        path = f"{folder}/pgpass.conf" if os.name == "nt" else f"{os.path.dirname(folder)}/.pgpass"
    if not path or not os.path.isfile(path):
        return hosts
    from lightvec.wire.libpq import passfile

    lines = passfile.entries(path, stacklevel=3)
    # libpq looks its default socket folder up as "localhost".
    names = ["localhost" if address.host in _SOCKET_FOLDERS else address.host for address in hosts]
    return tuple(
        address._replace(password=passfile.find(lines, name, address.port, values["database"], values["user"]))
        for address, name in zip(hosts, names, strict=True)
    )


def _settings_folder(environ: Mapping[str, str]) -> str | None:
    """``~/.postgresql``, or ``%APPDATA%\\postgresql`` on Windows; None without a home."""
    if os.name == "nt":
        return f"{environ.get('APPDATA', '.')}/postgresql"
    home = environ.get("HOME") or os.path.expanduser("~")
    # An account without a name has no home, as in containers that run under a mere number.
    return None if home == "~" else f"{home}/.postgresql"


# --- TLS ------------------------------------------------------------------------------------------


def _tls(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The mode, and libpq's default files where they exist."""
    folder = _settings_folder(environ)

    def file(parameter: str, name: str) -> str | None:
        # isfile() is False, too, where the folder is closed to this account, as under sudo -E.
        default = f"{folder}/{name}" if folder and os.path.isfile(f"{folder}/{name}") else None
        return values.get(parameter) or default

    rootcert = file("sslrootcert", "root.crt")
    sslmode, context = _sslmode(values), values.get("ssl_context")
    over_tcp = not all(address.socket_path for address in values["hosts"])
    if sslmode == "verify-ca" and not rootcert and over_tcp and context is None:
        raise InvalidOption(
            "sslmode=verify-ca without sslrootcert would take any host's certificate from any public "
            "authority: give sslrootcert=FILE, or say sslmode=verify-full"
        )
    certificate = None if values.get("sslcertmode") == "disable" else file("sslcert", "postgresql.crt")
    return {
        "sslmode": sslmode,
        "sslrootcert": rootcert,
        "sslcert": certificate,
        "sslkey": file("sslkey", "postgresql.key") if certificate else None,
        "ssl_context": None if isinstance(context, bool) else context,
    }


def _sslmode(values: Mapping[str, Any]) -> str:
    sslmode, context = values.get("sslmode"), values.get("ssl_context")
    if context is not None and sslmode is not None and (context is False) != (sslmode == "disable"):
        raise InvalidOption(f"ssl_context contradicts sslmode={sslmode}: leave one of them out")
    if context is False:
        return "disable"
    if context not in (None, True):
        if hasattr(values.get("sock"), "get_channel_binding"):
            raise InvalidOption("ssl_context is given and sock has TLS already: leave ssl_context out")
        return sslmode or "require"  # The context decides what is verified.
    by_system = values.get("sslrootcert") == "system"
    if by_system and sslmode not in (None, "disable", "verify-full"):
        raise InvalidOption(f"sslrootcert=system needs sslmode=verify-full, got {sslmode}: say sslmode=verify-full")
    if sslmode or by_system or not all(address.is_local for address in values["hosts"]):
        return sslmode or "verify-full"
    return "require" if context else "prefer"
