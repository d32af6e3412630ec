"""The same where NumPy cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sqlalchemy.conftest import DRIVERS

CODE = """
import sys
sys.modules["numpy"] = None
import sqlalchemy as sa
from array import array
from lightvec import Vector
from lightvec.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg
from tests.sqlalchemy.conftest import engine_of

engine = engine_of(sys.argv[1], sys.argv[2])
table = sa.Table(
    "no_numpy", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("v", VECTOR(2, metric="l2")),
    sa.Column("h", HALFVEC(2)), sa.Column("s", SPARSEVEC(2)), sa.Column("b", BIT(2)),
    sa.Column("a", sa.ARRAY(VECTOR(2))),
)
table.drop(engine, checkfirst=True)
table.create(engine)
forms = [[1, 2], (1, 2), array("f", [1, 2]), Vector([1, 2])]
with engine.begin() as connection:
    for form in forms:
        connection.execute(sa.insert(table), [{"id": 1, "v": form, "h": form, "s": form, "b": "10", "a": [form]}])
        assert connection.scalar(sa.select(sa.func.count()).where(table.c.v == form, table.c.v.in_([form]))) > 0
    rows = connection.execute(sa.select(table, table.c.v.distance([1, 2]).label("d"))).all()
    assert len(rows) == len(forms)
    for row in rows:
        assert row == (1, [1, 2], [1, 2], [1, 2], "10", [[1, 2]], 0), row
    assert connection.scalar(sa.select(avg(table.c.v))) == [1, 2]
table.drop(engine)
print(sys.modules["numpy"])
"""


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if " " not in driver])
def test_values(driver: str, url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", CODE, driver, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "None\n"
