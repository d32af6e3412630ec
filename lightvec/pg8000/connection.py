"""The base of the native and the PEP 249 connection, which hold a session."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lightvec.extension import ExtensionTypes
from lightvec.wire.connecting import open_session, pg8000_target
from lightvec.wire.execute import execute, execute_script
from lightvec.wire.lookup import read_catalog
from lightvec.wire.results import Result, RowClass
from lightvec.wire.session import Session

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Self

    from lightvec.wire.copy.load import Progress


class BaseConnection:
    """A connection that holds a session, with the interface that pg8000's connections share."""

    #: The class of pg8000 that it is an instance of to isinstance(): module and name.
    _pg8000_class: ClassVar[tuple[str, str]]
    _row_class: ClassVar[RowClass]

    def __init__(
        self,
        user: str | bytes | None,
        host: str | None = "localhost",
        database: str | bytes | None = None,
        port: int = 5432,
        password: str | bytes | Callable[[], str] | None = None,
        source_address: tuple[str, int] | None = None,
        unix_sock: str | None = None,
        ssl_context: ssl.SSLContext | bool | None = None,
        timeout: float | None = None,
        tcp_keepalive: bool = True,
        application_name: str | bytes | None = None,
        replication: str | bytes | None = None,
        startup_params: Mapping[str, str | bytes] | None = None,
        sock: Any = None,
        **params: Any,
    ) -> None:
        """Connect as pg8000 does; ``params`` are further ones of :func:`lightvec.pg8000.connect`.

        As in pg8000, the ``PG*`` variables and ``DATABASE_URL`` are not read.

        - ``ssl_context``: a context is required and used alone. None is ``sslmode=verify-full``, or
          ``prefer`` for a local host; True requires TLS there, too. False is ``sslmode=disable``.
        - ``unix_sock`` is the path of the socket itself. It takes precedence over ``host``, without TLS.
        - ``sock`` is an open socket, which the connection then owns. TLS is negotiated on it unless it is
          a Unix socket or has TLS already. Statements cannot be canceled.
        - ``timeout`` is the default of ``connect_timeout`` and of ``command_timeout``.
        """
        named = {name: value for name, value in locals().items() if name not in ("self", "params", "__class__")}
        self._begin(open_session(pg8000_target(**named, **params)))

    @classmethod
    def open(cls, session: Session) -> Self:
        """A connection over a session that is open."""
        connection = cls.__new__(cls)
        connection._begin(session)
        return connection

    def _begin(self, session: Session) -> None:
        #: The session that the connection holds.
        self.session = session

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """pg8000's class of the same name for isinstance(), where a program has loaded pg8000."""
        module, name = self._pg8000_class
        return getattr(sys.modules.get(module), name, type(self))

    def __enter__(self) -> Self:
        """The connection, which is closed at the end of the block."""
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- pg8000's attributes --------------------------------------------------------------------

    @property
    def parameter_statuses(self) -> dict[str, str]:
        """The settings that the server reports, by name."""
        return self.session.parameter_statuses

    @property
    def notices(self) -> deque[dict[bytes, bytes]]:
        """The last hundred notices, each by the one-letter keys of its fields."""
        return self.session.notices

    @property
    def notifications(self) -> deque[tuple[int, str, str]]:
        """The last hundred notifications: process ID, channel and payload."""
        return self.session.notifications

    @property
    def py_types(self) -> MutableMapping[type, Callable[[Any], Any]]:
        """The output adapters: from a Python type to a function that returns the text to send."""
        return self.session.adapters.py_types

    @property
    def pg_types(self) -> MutableMapping[int, Callable[[str], Any]]:
        """The input adapters: from the OID of a type to a function of its text."""
        return self.session.adapters.pg_types

    def register_out_adapter(self, typ: type, out_func: Callable[[Any], Any]) -> None:
        """Send the values of a Python type as the text that a function returns."""
        self.py_types[typ] = out_func

    def register_in_adapter(self, oid: int, in_func: Callable[[str], Any]) -> None:
        """Read the values of a type, by its OID, by a function of their text."""
        self.pg_types[oid] = in_func
        self.session.statements.clear()

    # --- state ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or broke."""
        return self.session.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, a failed one too."""
        return self.session.in_transaction

    @property
    def in_failed_transaction(self) -> bool:
        """Whether a statement in the open transaction block failed."""
        return self.session.in_failed_transaction

    @property
    def server_version(self) -> int:
        """The server's version as libpq writes it: 180006 for 18.6."""
        return self.session.server_version

    @property
    def backend_pid(self) -> int | None:
        """The process ID that the server reported at login; a pooler reports one of its own."""
        return self.session.backend_pid

    def extension(self) -> ExtensionTypes:
        """The OIDs, version and schema of pgvector; a round trip if they are not known yet."""
        if not self.session.extension.oids:
            self.session.check_usable()
            read_catalog(self.session)
        return self.session.extension

    @property
    def command_timeout(self) -> float | None:
        """Seconds until a statement is canceled; None is no limit. It can be set at any time."""
        return self.session.limits.command_timeout

    @command_timeout.setter
    def command_timeout(self, seconds: float | None) -> None:
        self.session.limits.command_timeout = seconds or None

    @property
    def deadline(self) -> Callable[[], float | None] | None:
        """A function that returns the milliseconds left for all statements. It can be set at any time."""
        return self.session.limits.deadline

    @deadline.setter
    def deadline(self, deadline: Callable[[], float | None] | None) -> None:
        self.session.limits.deadline = deadline

    def is_alive(self) -> bool:
        """Whether the connection can be used, as far as is known without a round trip."""
        return self.session.is_alive()

    def cancel(self, *, timeout: float = 10.0) -> None:
        """Cancel the statement that another thread runs on this connection: that thread gets 57014."""
        self.session.cancel(timeout=timeout)

    def close(self) -> None:
        """Close the connection. It never raises; closing twice is harmless."""
        self.session.close()

    # --- statements -----------------------------------------------------------------------------

    def execute_simple(self, statement: str) -> Result:
        """Run one or more statements without parameters by a simple Query, as pg8000 does."""
        return execute_script(self.session, statement, self._row_class)

    def execute_unnamed(
        self,
        statement: str,
        vals: Sequence[Any] = (),
        oids: Sequence[int | None] = (),
        stream: Any = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> Result:
        """Run one statement with ``$1`` parameters, as pg8000 does; ``settings`` hold for it only."""
        if stream is not None:
            return self._copy(statement, vals, stream)
        return execute(self.session, statement, vals, oids, settings=settings, row_class=self._row_class)

    def execute_many(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> int:
        """Run statements with ``$1``, each with its values, in one round trip: all take effect or none.

        Returns the number of rows that they returned or changed, -1 if one has no count.

        >>> conn.execute_many([("SELECT $1::int", [1]), ("SELECT $1::int", [2])])
        2
        """
        from lightvec.wire.pipeline import execute_many

        return execute_many(self.session, statements, row_class=self._row_class).row_count

    def _copy(self, sql: str, values: Sequence[Any], stream: Any) -> Result:
        from lightvec.wire.copy.copy_in import copy_stream

        return copy_stream(self.session, sql, values, stream, self._row_class)

    def _begin_transaction(self) -> None:
        """Begin a transaction where one begins implicitly."""

    def copy_rows(
        self,
        table: str | tuple[str, str],
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        on_conflict: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Load rows by binary COPY; see :func:`lightvec.wire.copy.load.copy_rows`."""
        from lightvec.wire.copy import load

        self._begin_transaction()
        return load.copy_rows(self.session, table, columns, rows, on_conflict=on_conflict, progress=progress)

    def copy_columns(
        self,
        table: str | tuple[str, str],
        columns: Mapping[str, Any],
        *,
        on_conflict: str | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Load columns by binary COPY; see :func:`lightvec.wire.copy.load.copy_columns`."""
        from lightvec.wire.copy import load

        self._begin_transaction()
        return load.copy_columns(self.session, table, columns, on_conflict=on_conflict, progress=progress)
