"""The same tests on psycopg2 and without NumPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

_RUN = """
import sys


class Absent:
    # None in sys.modules would do, were it not for psycopg, which looks there for NumPy.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())
import pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", "--ignore", {this!r}, {here!r}])
from django.db.backends.postgresql.psycopg_any import is_psycopg3
print("driver", 3 if is_psycopg3 else 2, "numpy", bool(sys.modules.get("numpy")))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("blocked", "said"),
    [(["psycopg", "numpy"], "driver 2 numpy False"), (["numpy"], "driver 3 numpy False")],
    ids=["psycopg2", "no-numpy"],
)
def test_without(blocked: list[str], said: str) -> None:
    code = _RUN.format(blocked=blocked, this=__file__, here=str(HERE))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert said in done.stdout
    assert "skipped" not in done.stdout
