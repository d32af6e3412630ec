"""What becomes of the same parameters in lightvec and in libpq."""

from __future__ import annotations

from typing import Any

import psycopg

from lightvec.errors import LightvecError
from lightvec.pg8000 import connect
from tests.tls.sentences import check_remedy

__all__ = ["IS_TLS", "REFUSED", "libpqs", "ours"]

IS_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
REFUSED = "refused"


def ours(**params: Any) -> bool | str:
    """Whether TLS is in use, or that there is no connection."""
    try:
        with connect(**params) as connection:
            rows = connection.run(IS_TLS) or []
            return bool(rows[0][0])
    except LightvecError as error:
        check_remedy(error)
        return REFUSED


def libpqs(**params: Any) -> bool | str:
    """The same of libpq."""
    try:
        with psycopg.connect(**params) as connection:
            row: Any = connection.execute(IS_TLS).fetchone()
            return bool(row[0])
    except psycopg.OperationalError:
        return REFUSED
