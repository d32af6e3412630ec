"""The same tests once more, on psycopg2 and without NumPy; the driver and NumPy have nothing to do with each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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


def test_psycopg2_and_no_numpy() -> None:
    code = _RUN.format(blocked=["psycopg", "numpy"], this=__file__, here=str(HERE))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "driver 2 numpy False" in done.stdout
    assert "skipped" not in done.stdout
