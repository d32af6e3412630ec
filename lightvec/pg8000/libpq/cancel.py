"""A CancelRequest: the server is told on a second connection to stop what it does on the first.

Source: PostgreSQL 18 documentation, 54.2.8 "Canceling Requests in Progress". The second connection goes to the same
address as the first, with TLS and verified in the same way if that was. The server answers by closing it.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field, replace

from lightvec.pg8000.exceptions import OperationalError
from lightvec.pg8000.libpq.dsn import Address, Target
from lightvec.pg8000.libpq.transport import is_tls, open_socket
from lightvec.pg8000.limits import Deadline

__all__ = ["Canceller"]

_CANCEL_REQUEST = (80877102).to_bytes(4, "big")


@dataclass(frozen=True)
class Canceller:
    """Cancels what runs on one connection."""

    target: Target
    address: Address
    tls: bool
    key: bytes | None = field(repr=False)  # Who has it can cancel what the connection does.

    @classmethod
    def of(cls, opened: socket.socket, target: Target, address: Address, key: bytes | None) -> Canceller:
        """For the server that this socket leads to; ``key`` is the body of its BackendKeyData."""
        with suppress(OSError):  # A connection that broke: there is nothing to cancel, and the name will do.
            peer = opened.getpeername()
            # A name may stand for several servers. An address of the link alone needs its zone, which is in the name.
            if isinstance(peer, tuple) and not any(peer[3:]):
                address = replace(address, hostaddr=peer[0])
        return cls(target, address, is_tls(opened), key)

    def cancel(self, deadline: Deadline) -> None:
        """Have the server cancel it, and wait until it has taken note of that."""
        if not self.key:
            raise OperationalError(
                f"{self.address} gave no key to cancel statements with: set statement_timeout instead"
            )
        opened = open_socket(self.address, self.target, deadline, tls=self.tls)
        try:
            if is_tls(opened) != self.tls:  # Under prefer, which takes a server's word that it has no TLS.
                raise OperationalError(f"{self.address} has no TLS any more, so nothing is cancelled: connect again")
            request = _CANCEL_REQUEST + self.key
            opened.settimeout(deadline.remaining())
            opened.sendall((len(request) + 4).to_bytes(4, "big") + request)
            while opened.recv(256):
                opened.settimeout(deadline.remaining())
        except TimeoutError as error:
            raise OperationalError(f"{self.address} did not take the request to cancel within {deadline}") from error
        except ConnectionResetError:
            pass  # That, too, is an end.
        except OSError as error:
            raise OperationalError(f"the request to cancel did not reach {self.address} ({error.strerror})") from error
        finally:
            opened.close()
