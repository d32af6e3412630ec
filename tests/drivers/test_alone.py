"""Each module without NumPy, without the other libraries, and without its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lightvec

ROOT = Path(lightvec.__file__).parents[1]

MODULES = ["psycopg", "psycopg2", "asyncpg"]
#: What else is installed here and none of them may load.
OTHERS = {"pg8000", "peewee", "click", "pgvector", "psycopg_pool", "hypothesis", "pytest", "pyarrow", "matplotlib"}

START = "import json, sys\nsys.modules['numpy'] = sys.modules['scipy'] = None\nbefore = set(sys.modules)\n"

USES = {
    "psycopg": """
import psycopg
with psycopg.connect(sys.argv[1]) as conn:
    register_vector(conn)
    for binary in (False, True):
        for value in (V, H, S, [V, None]):
            assert conn.execute("SELECT %s", [value], binary=binary).fetchall() == [(value,)]
""",
    "psycopg2": """
import psycopg2
conn = psycopg2.connect(sys.argv[1])
register_vector(conn)
with conn.cursor() as cursor:
    cursor.execute("SELECT %s::vector, %s::halfvec, %s::sparsevec, %s::vector[]", [V, H, S, [V, None]])
    assert cursor.fetchall() == [(V, H, S, [V, None])]
conn.close()
""",
    "asyncpg": """
import asyncio, asyncpg
async def use():
    conn = await asyncpg.connect(sys.argv[1])
    await register_vector(conn)
    found = await conn.fetchrow("SELECT $1::vector, $2::halfvec, $3::sparsevec, $4::vector[]", [1, 2], H, S, [V, None])
    assert found == (V, H, S, [V, None])
    await conn.close()
asyncio.run(use())
""",
}


def ran(code: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", START + code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_without_numpy(name: str, url: str, tmp_path: Path) -> None:
    values = "V, H, S = Vector([1, 2]), HalfVector([1, 2]), SparseVector([0, 2])\n"
    imports = f"from lightvec import *\nfrom lightvec.{name} import register_vector\n"
    assert ran(imports + values + USES[name] + "print('done')", url, folder=tmp_path) == "done\n"


@pytest.mark.parametrize("name", MODULES)
def test_each_loads_its_own_library_only(name: str, tmp_path: Path) -> None:
    code = f"import lightvec.{name}\nprint(json.dumps(list(set(sys.modules) - before)))"
    loaded = {module.partition(".")[0] for module in json.loads(ran(code, folder=tmp_path))}
    assert "lightvec" in loaded
    assert loaded.isdisjoint((OTHERS | {*MODULES}) - {name})


@pytest.mark.parametrize("name", ["django", "psycopg", "psycopg2", "sqlalchemy"])
def test_without_its_library(name: str, tmp_path: Path) -> None:
    code = f"""
sys.modules[{name!r}] = None
from lightvec.errors import MissingExtra
try:
    import lightvec.{name}
except MissingExtra as error:
    print(error)
"""
    assert f"pip install 'lightvec[{name}]'" in ran(code, folder=tmp_path)
