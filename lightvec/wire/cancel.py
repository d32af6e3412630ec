"""CancelRequest: cancel the statement of a connection by way of a second one.

Source: PostgreSQL 18 documentation, 54.2.8 "Canceling Requests in Progress". The second connection goes
to the same address, with TLS, verified in the same way, if the first has it.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from lightvec.wire.errors import OperationalError
from lightvec.wire.libpq.target import Address, Target
from lightvec.wire.sockets import is_tls, open_socket
from lightvec.wire.timeouts import Deadline

_CANCEL_REQUEST = (80877102).to_bytes(4, "big")


class Canceller:
    """Cancels statements of the connection on a socket; ``key``, which is a secret, is its BackendKeyData."""

    def __init__(self, opened: socket.socket, target: Target, address: Address, key: bytes | None) -> None:
        with suppress(OSError):  # The connection broke: there is nothing to cancel.
            peer = opened.getpeername()
            # A name may stand for several servers. A link-local address needs its zone, which is in the name.
            if isinstance(peer, tuple) and not any(peer[3:]):
                address = address._replace(hostaddr=peer[0])
        if target.source_address is not None:
            # The first connection uses the port.
            target = target._replace(source_address=(target.source_address[0], 0))
        self._target = target
        self._address = address
        self._has_tls = is_tls(opened)
        self._key = key

    def cancel(self, deadline: Deadline) -> None:
        """Send the request, and wait until the server has handled it and closes the connection."""
        if self._target.sock is not None:
            raise OperationalError(
                "the connection uses a socket that was given (sock=), so no second one can be opened to "
                "cancel: set statement_timeout instead"
            )
        if not self._key:
            raise OperationalError(f"{self._address} gave no key to cancel by: set statement_timeout instead")
        opened = open_socket(self._address, self._target, deadline, tls=self._has_tls)
        try:
            # sslmode=prefer trusts a server that says that it has no TLS.
            if is_tls(opened) != self._has_tls:
                raise OperationalError(f"{self._address} has no TLS anymore, so nothing is canceled: connect again")
            request = _CANCEL_REQUEST + self._key
            opened.settimeout(deadline.remaining())
            opened.sendall((len(request) + 4).to_bytes(4, "big") + request)
            while opened.recv(256):
                opened.settimeout(deadline.remaining())
        except ConnectionResetError:
            pass  # Closed, too.
        except OSError as error:
            why = f"within {deadline}" if isinstance(error, TimeoutError) else f"({error.strerror})"
            raise OperationalError(
                f"{self._address} did not take the request to cancel {why}: is it still reachable?"
            ) from None
        finally:
            opened.close()
