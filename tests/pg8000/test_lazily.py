"""What is loaded before a first search, and that the rest is there when it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: What takes its time to load, and a search on this machine does not need.
NEEDLESS = {"asn1crypto", "click", "dateutil", "numpy", "scramp", "ssl", "lightvec.search", "lightvec.server", "email"}

SEARCH = """
import sys
sys.modules["psycopg"] = sys.modules["psycopg2"] = None  # Peewee would load them where they are installed
from peewee import Model
from lightvec.peewee import Pg8000Database, VectorField

db = Pg8000Database(sys.argv[1])

class Start(Model):
    v = VectorField(2, metric="l2")
    class Meta:
        database = db

with db.atomic() as transaction:
    db.create_tables([Start])
    Start.insert(v=[1, 2]).execute()
    assert Start.v.nearest([1, 2]).get().distance == 0
    transaction.rollback()
"""


def answer(code: str, *arguments: str) -> object:
    """What a fresh interpreter prints as JSON."""
    command = [sys.executable, "-W", "error", "-c", f"import json, sys\n{code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_search_loads_nothing_that_it_does_not_need(url: str) -> None:
    loaded = answer(f"{SEARCH}\nprint(json.dumps([name for name, module in sys.modules.items() if module]))", url)
    assert isinstance(loaded, list)
    assert "pg8000.core" in loaded
    # importlib.metadata, which pg8000 asks for its version, loads email.
    assert set(loaded) & NEEDLESS <= {"email"}


def test_pg8000_finds_both_when_it_needs_them() -> None:
    assert answer(
        """
import lightvec.pg8000, pg8000.core, pg8000.converters as converters
before = sorted({"scramp", "dateutil"} & set(sys.modules))
read = converters.timestamp_in("2 January 2003 04:05"), converters.timestamp_in("no date at all")
client = pg8000.core.scramp.ScramClient
import scramp, dateutil.parser
print(json.dumps([
    before, str(read[0]), read[1], client is scramp.ScramClient,
    sys.modules["scramp"].__file__ == scramp.__file__, dateutil.parser.parser.__name__,
]))
"""
    ) == [[], "2003-01-02 04:05:00", "no date at all", True, True, "parser"]


def test_who_has_loaded_them_before_keeps_them() -> None:
    assert answer(
        """
import scramp, dateutil.parser
import lightvec.pg8000, pg8000.core, pg8000.converters
print(json.dumps([pg8000.core.scramp is scramp, pg8000.converters.parse is dateutil.parser.parse]))
"""
    ) == [True, True]


def test_who_has_loaded_pg8000_before_keeps_it() -> None:
    assert (
        answer(
            """
import pg8000.core, scramp
import lightvec.pg8000
print(json.dumps(pg8000.core.scramp is scramp))
"""
        )
        is True
    )


def test_another_thread_may_load_them_at_the_same_time() -> None:
    assert answer(
        """
from lightvec.pg8000 import lazily  # Loads pg8000 for the package.
for module in (lazily._StandIn("scramp"), lazily._Parser()):
    sys.modules[module.__name__] = module
import scramp
from dateutil.parser import parse, parserinfo
names = [parserinfo.__name__, scramp.ScramClient.__name__]
print(json.dumps([str(parse("2003-01-02")), names, "dateutil.parser" in sys.modules]))
"""
    ) == ["2003-01-02 00:00:00", ["parserinfo", "ScramClient"], True]


@pytest.mark.parametrize("missing", ["pg8000.dbapi", "pg8000.native"])
def test_nothing_is_left_behind_where_pg8000_cannot_be_loaded(missing: str) -> None:
    assert answer(
        f"""
sys.modules[{missing!r}] = None
try:
    import lightvec.pg8000
except ImportError as error:
    print(json.dumps([error.name, sorted({{"scramp", "dateutil.parser"}} & set(sys.modules))]))
"""
    ) == [missing, []]
