"""pg8000's classes are bases of the errors once a program has loaded pg8000, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lightvec.pg8000 import Connection
from lightvec.wire.errors import DatabaseError, IntegrityError, InternalError, error_from_fields

PROGRAM = """
import pickle, sys
from lightvec.wire import errors
early = errors.error_from_fields({"C": "23505", "M": "duplicate"})
assert "pg8000" not in sys.modules
import pg8000
assert not isinstance(early, pg8000.IntegrityError)
class Own(errors.DataError):
    pass
LATE
for name in ("InterfaceError", "DatabaseError", "DataError", "IntegrityError", "OperationalError", "ProgrammingError"):
    assert issubclass(getattr(errors, name), getattr(pg8000, name)), name
assert issubclass(errors.ConnectionLost, (pg8000.InterfaceError, pg8000.OperationalError))
assert issubclass(errors.CannotConnect, pg8000.InterfaceError)
assert issubclass(Own, pg8000.DataError) and isinstance(early, pg8000.IntegrityError)
assert not issubclass(errors.DataError, pg8000.IntegrityError)
again = pickle.loads(pickle.dumps(early))
assert (type(again), str(again)) == (type(early), str(early))
"""


@pytest.mark.parametrize("late", ["Own()", "import lightvec.pg8000.exceptions"])
def test_they_are_joined(late: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM.replace("LATE", late)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("severity", [{"V": "FATAL"}, {"S": "FATAL"}, {"V": "PANIC", "S": "PANIK"}])
@pytest.mark.parametrize("sqlstate", ["57P01", "40001", "25P03", "XX000"])
def test_what_ends_the_connection_says_to_connect_again(sqlstate: str, severity: dict[str, str]) -> None:
    assert str(error_from_fields({"C": sqlstate, "M": "it"} | severity)).endswith(
        "the connection is closed: connect again"
    )


def test_an_error_that_leaves_it_open_does_not() -> None:
    text = str(error_from_fields({"C": "57P01", "V": "ERROR", "M": "it"}))
    assert "another server" in text
    assert text.endswith("run it again")
    assert "connection is closed" not in text, "by which SQLAlchemy would drop a good connection"
    assert str(error_from_fields({"C": "40001", "V": "ERROR", "M": "it"})).endswith("run the transaction again")


def test_a_constraint_that_a_worker_of_citus_reports_in_copy() -> None:
    """Citus leaves the worker's SQLSTATE out, and passes its detail on."""
    fields = {"V": "ERROR", "C": "XX000", "M": "duplicate key", "R": "ReportCopyError"}
    error = error_from_fields(fields | {"D": "Key (id)=(1) already exists."})
    assert (type(error), error.sqlstate) == (IntegrityError, "XX000")
    assert type(error_from_fields(fields)) is InternalError
    assert type(error_from_fields(fields | {"D": "…", "R": "elog"})) is InternalError


@pytest.mark.parametrize(
    ("sql", "remedy"),
    [
        ("SELECT other.a FROM (SELECT 1 AS a) AS one", "add the table to FROM"),
        ("SELECT * FROM nowhere", "create it"),
        ("CREATE INDEX ON wide USING hnsw (v vector_l2_ops)", "index (column::halfvec(n))"),
        ("CREATE INDEX ON free USING hnsw (v vector_l2_ops)", "ALTER COLUMN ... TYPE vector(n)"),
        ("BEGIN READ ONLY; CREATE TABLE never (a int)", "begin it READ WRITE"),
    ],
)
def test_faults_of_one_sqlstate_have_their_own_remedies(sql: str, remedy: str, conn: Connection) -> None:
    conn.run("CREATE TEMPORARY TABLE wide (v vector(3000)); CREATE TEMPORARY TABLE free (v vector)")
    with pytest.raises(DatabaseError) as caught:
        conn.run(sql)
    assert f"; {remedy}" in str(caught.value) or str(caught.value).endswith(remedy)
    conn.run("ROLLBACK")


def test_a_policy_is_no_missing_privilege() -> None:
    fields = {"V": "ERROR", "C": "42501", "M": "it"}
    assert "GRANT" in str(error_from_fields(fields | {"R": "aclcheck_error"}))
    assert "GRANT" not in str(error_from_fields(fields | {"R": "ExecWithCheckOptions"}))
