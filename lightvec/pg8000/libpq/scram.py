"""A password proved by SCRAM-SHA-256, without telling it, and bound to the TLS channel where there is one.

Source: RFC 5802 and RFC 7677, RFC 5929 section 4 (``tls-server-end-point``), PostgreSQL 18 documentation, 54.3.1
"SCRAM-SHA-256 Authentication". pg8000 leaves it to scramp, whose loading was 12 of the 20 ms of a first login over TLS,
and which refuses passwords that psql takes: with characters newer than Unicode 3.2, or that are no UTF-8.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import b64decode, b64encode

from lightvec.pg8000.exceptions import OperationalError

__all__ = ["MAX_ITERATIONS", "Scram", "prepared"]

_PLAIN, _PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"

#: The server says how long the client computes: up to eight minutes, if nobody stops it. PostgreSQL's own default is
#: 4,096, OWASP's advice 600,000. Two million took 0.5 s on one processor, and may take 2 s on a slow one.
MAX_ITERATIONS = 2_000_000

#: What the server says first: a nonce of printable characters, the salt, the iterations; extensions may follow.
_FIRST = re.compile(rb"r=([!-+\--~]+),s=([A-Za-z0-9+/]+=*),i=([1-9][0-9]{0,9})(?:,(?!m=)[A-Za-z]=[^,\0]+)*")
_FINAL = re.compile(rb"v=([A-Za-z0-9+/]+=*)(?:,[A-Za-z]=[^,\0]+)*")


class Scram:
    """One login: what the client says, and whether the server knows the password too.

    ``offered`` are the mechanisms that the server has, ``certificate`` its certificate in DER where TLS is on, and
    ``channel_binding`` is libpq's. The messages are the bodies of those of the protocol.
    """

    def __init__(self, offered: list[str], password: bytes, certificate: bytes | None, channel_binding: str) -> None:
        can_bind = certificate is not None and channel_binding != "disable"
        self.mechanism = _PLUS if can_bind and _PLUS in offered else _PLAIN
        if self.mechanism not in offered:
            raise OperationalError(
                f"the server offers no login that is known here ({', '.join(map(ascii, offered))}): "
                f"have its pg_hba.conf ask this user for scram-sha-256"
            )
        self._password = prepared(password)
        self._nonce = b64encode(os.urandom(18))
        self._signature = b""
        self.is_proved = False
        # "y" says that the client could bind if the server could: who took -PLUS out of the server's offer is noticed.
        self._header, data = (b"y,," if can_bind else b"n,,"), b""
        if self.is_bound and certificate is not None:
            from lightvec.pg8000.libpq.endpoint import end_point

            self._header, data = b"p=tls-server-end-point,,", end_point(certificate)
        self._binding = b64encode(self._header + data)

    @property
    def is_bound(self) -> bool:
        """Whether nobody in between can hand the login on over a TLS connection of his own."""
        return self.mechanism == _PLUS

    def first(self) -> bytes:
        """What the client says first. PostgreSQL knows the user already, and wants no name here."""
        return self._header + self._bare

    @property
    def _bare(self) -> bytes:
        return b"n=,r=" + self._nonce

    def final(self, said: bytes) -> bytes:
        """The client's proof, for what the server said first."""
        found = _FIRST.fullmatch(said)
        if found is None or self._signature:
            raise _not_scram()
        nonce, iterations = found[1], int(found[3])
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise _not_scram()
        if iterations > MAX_ITERATIONS:
            raise OperationalError(
                f"the server wants {iterations:,} iterations for the password, more than the {MAX_ITERATIONS:,} that "
                f"are computed here: is it the right server? lower its scram_iterations and set the password again"
            )
        salted = hashlib.pbkdf2_hmac("sha256", self._password, _decoded(found[2]), iterations)
        without_proof = b"c=" + self._binding + b",r=" + nonce
        signed = b",".join((self._bare, said, without_proof))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        proof = bytes(ours ^ theirs for ours, theirs in zip(client_key, signature, strict=True))
        return without_proof + b",p=" + b64encode(proof)

    def check(self, said: bytes) -> None:
        """Raise unless the server's last word proves that it knows the password."""
        found = _FINAL.fullmatch(said)
        if found is None or not self._signature:
            raise _not_scram()
        if not hmac.compare_digest(_decoded(found[1]), self._signature):
            raise OperationalError(
                "the server does not know the password that it asks for (SCRAM): is it the right server? "
                "use sslmode=verify-full"
            )
        self.is_proved = True


def prepared(password: bytes) -> bytes:
    r"""A password by SASLprep (RFC 4013), which makes one of what looks the same.

    What is no UTF-8 or holds what SASLprep forbids stays as it is: so it does in PostgreSQL and in libpq.

    >>> prepared("\u2168 ".encode()), prepared("\U0001f600".encode()), prepared(b"\xff")
    (b'IX ', b'\xf0\x9f\x98\x80', b'\xff')
    """
    if password.isascii():
        return password
    import stringprep  # 3 ms, for the few
    from unicodedata import normalize

    try:
        text = password.decode()
    except UnicodeDecodeError:
        return password
    mapped = (" " if stringprep.in_table_c12(one) else one for one in text if not stringprep.in_table_b1(one))
    text = normalize("NFKC", "".join(mapped))
    return text.encode() if text and not _is_forbidden(text) else password


def _is_forbidden(text: str) -> bool:
    import stringprep as tables

    forbidden = [tables.in_table_a1, tables.in_table_c12, tables.in_table_c21_c22, tables.in_table_c3]
    forbidden += [tables.in_table_c4, tables.in_table_c5, tables.in_table_c6, tables.in_table_c7]
    forbidden += [tables.in_table_c8, tables.in_table_c9]
    if any(is_in(one) for one in text for is_in in forbidden):
        return True
    # Right-to-left text must be so from end to end (RFC 3454, section 6).
    to_left = [tables.in_table_d1(one) for one in text]
    return any(to_left) and (any(map(tables.in_table_d2, text)) or not (to_left[0] and to_left[-1]))


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise _not_scram() from None


def _not_scram() -> OperationalError:
    # What it said is not shown: it comes from nobody that is known yet.
    return OperationalError(
        "the server does not keep to the rules of the login that it offers (SCRAM): is it the right server, and "
        "nothing in between? use sslmode=verify-full"
    )
