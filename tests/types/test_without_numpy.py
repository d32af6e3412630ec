"""Everything works, and nothing of NumPy or SciPy is loaded, where they are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BLOCK = "import sys\nfor name in ('numpy', 'scipy', 'scipy.sparse'): sys.modules[name] = None\n"

WORKS = """
import copy, pickle
from array import array
from lightvec.errors import InvalidVector, MissingExtra
from lightvec.types import Bit, HalfVector, SparseVector, Vector

for kind in (Vector, HalfVector, SparseVector):
    v = kind([1.5, 0, -2])
    made = [kind((1.5, 0, -2)), kind(iter([1.5, 0, -2])), kind(array("d", [1.5, 0, -2]))]
    made += [copy.deepcopy(v), pickle.loads(pickle.dumps(v))]
    made += [kind.from_text(v.to_text()), kind.from_binary(v.to_binary())]
    for other in made:
        assert other == v == [1.5, 0, -2] and hash(other) == hash(v), (other, v)
    assert v.normalized() == [0.6, 0, -0.8]
    for bad in (None, [], "x", [1, float("nan")], [1, 1e99], [[1]], [None]):
        try:
            kind(bad)
        except InvalidVector:
            continue
        raise AssertionError(bad)
assert SparseVector({0: 1, 2: 2}, 6).to_text() == "{1:1,3:2}/6"
bits = Bit([True, False, True])
assert bits == Bit("101") == Bit.from_binary(bits.to_binary()) == "101"
for call in (Vector([1]).to_numpy, HalfVector([1]).to_numpy, SparseVector([1]).to_numpy, bits.to_numpy,
             SparseVector([1]).to_coo):
    try:
        call()
    except MissingExtra as error:
        assert error.extra == "numpy" and "pip install 'lightvec[numpy]'" in str(error)
    else:
        raise AssertionError(call)
"""

LOADS = """
import sys
import lightvec.types
lightvec.types.Vector([1, 2]).to_text()
assert not {'numpy', 'scipy'} & set(sys.modules), set(sys.modules)
ours = {name for name in sys.modules if name.startswith('lightvec') and '.types' not in name}
assert ours == {'lightvec', 'lightvec.errors'}, ours
"""


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", [BLOCK + WORKS, LOADS], ids=["works", "loads"])
def test_without_numpy(code: str) -> None:
    run(code)
