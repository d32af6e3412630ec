"""No SQL of the library's has an unquoted name in it; a new one must be quoted, or stand here with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

import lightvec
from tests.cases import for_each
from tests.names.checker import findings

ROOT = Path(lightvec.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))

_TARGET = "a Target's name is given quoted, which is checked, and it quotes its columns"
_PARTS = "made by a function that is checked itself, of quoted names"
_TABLE = "a name that Table.sql has quoted"
_WRITTEN = "as the server writes it in its catalog"
_CALLS = "calls of set_config with parameters and numbers; names and values are the parameters"

#: Where, what is put into SQL there, and why it may.
EXEMPT: Mapping[str, Mapping[str, str]] = {
    "peewee/indexes.py:VectorIndex.__sql__": {
        "self.method": "a constant of the two classes",
        "options": "the names are those of their parameters, the values are written as integers",
    },
    "wire/copy/conflict.py:load_by_insert": dict.fromkeys(("target.name", "columns", "staging.name"), _TARGET),
    "wire/copy/conflict.py:_last_rows": dict.fromkeys(
        ("table", "same", "place"), "quoted here or by load_by_insert, the only caller"
    ),
    "wire/copy/conflict.py:_inserted": {"insert": _PARTS},
    "wire/copy/conflict.py:_transaction": {"savepoint": "quoted by load_by_insert, the only caller"},
    "wire/copy/load.py:send_blocks": dict.fromkeys(("into.name", "into.column_list"), _TARGET),
    "pg8000/dbapi.py:": {"name": "a constant of the table"},
    "wire/lookup.py:": {"TYPES_SQL": "a constant"},
    "wire/execute.py:": {"BEGINNING": "a regular expression"},
    "pg8000/dbapi.py:ServerCursor.execute": {"operation": "the caller's statement"},
    "peewee/alterations.py:column_definition": {"column.collation": _WRITTEN},
    "peewee/alterations.py:add_column": {"table.sql": _TABLE, "definition": _WRITTEN},
    "peewee/alterations.py:restore_column": dict.fromkeys(
        ("alter", "column_definition(column, null=True)", "table.sql"), _TABLE
    ),
    "peewee/alterations.py:drop_column": {"table.sql": _TABLE},
    "peewee/alterations.py:change_type": {
        "table.sql": _TABLE,
        **dict.fromkeys(
            ("', '.join(actions)", "cast", "collate", "collation", "new.default", "new.type", "old.sequence"), _WRITTEN
        ),
    },
    "peewee/alterations.py:change_default": {
        **dict.fromkeys(("alter", "table.sql"), _TABLE),
        **dict.fromkeys(("new.default", "new.type", "old.sequence", "_IDENTITY[new.identity]"), _WRITTEN),
    },
    "peewee/alterations.py:_set_sequence": {"table.sql": _TABLE},
    "peewee/alterations.py:change_null": dict.fromkeys(("alter", "table.sql"), _TABLE),
    "peewee/alterations.py:drop_constraint": {"table.sql": _TABLE},
    "peewee/alterations.py:add_constraint": {
        "table.sql": _TABLE,
        "constraint.definition": _WRITTEN,
        "(f'DROP CONSTRAINT IF EXISTS {each}' for each in drops)": "quoted in the line before",
    },
    "peewee/alterations.py:create_index": {"table.sql": _TABLE, "index.definition": _WRITTEN},
    "peewee/alterations.py:drop_index": {"table.sql": _TABLE},
    "peewee/definitions.py:IndexDefinition.words": {"given": "a sentence"},
    "peewee/differences.py:_TableComparison._has_rows": {"self._table.sql": _TABLE},
    "peewee/differences.py:_TableComparison.constraints": {"table.sql": _TABLE},
    "peewee/differences.py:_described": {"column.collation": "a sentence"},
    "peewee/schema_diff.py:_Comparison._new_table": {
        "name": _PARTS,
        **dict.fromkeys(("added[1]", "added[2]"), "what Peewee has written"),
    },
    "peewee/schema_diff.py:_extension": {"condition": "IF NOT EXISTS, or empty"},
    "peewee/reference_tables.py:_Reference.index": dict.fromkeys(("self._table(model)", "table_sql(model)"), _PARTS),
    "errors.py:MissingExtension.__init__": dict.fromkeys(("type_name", "installed"), "a sentence"),
    "wire/advice.py:newer_pgvector": dict.fromkeys(
        ("found[0]", "'.'.join(map(str, version))", "'.'.join(map(str, types.version))"), "a sentence"
    ),
    "wire/settings.py:set_step": {"', '.join(saves + calls)": _CALLS},
    "peewee/estimates.py:estimate": {"percent": "a number, written as one"},
    "peewee/column_comments.py:comment_sql": {"table": _PARTS},
    "search/switching.py:Switch._additions": {"kind": "a type as its field declares it"},
    "search/switching.py:Switch.prepare_sql": {"additions": _PARTS},
    "search/switching.py:Switch.prepare": {"additions": _PARTS},
    "search/explaining.py:": {
        "NEVER_ANALYZED": "a constant of table_statistics.py",
        "BUILDS": "a constant of citus_shards.py",
    },
    "search/explaining.py:_planned": {"sql": "what Peewee has written"},
    "search/table_statistics.py:": {"BUILDS": "a constant of citus_shards.py"},
    "search/table_statistics.py:_sample": {
        "sampled": "made by _add_sample, the only caller",
        "_pending(database, table, column)": "what Peewee has written",
    },
    "search/table_statistics.py:_newer": {"sampled": "made by _add_sample, the only caller"},
}


@cache
def found_in(module: str) -> list[tuple[str, str, int]]:
    source = (ROOT / module).read_text(encoding="utf-8")
    return [(f"{module}:{finding.function}", finding.piece, finding.line) for finding in findings(source)]


@for_each("module", MODULES)
def test_every_name_is_quoted(module: str) -> None:
    unknown = [
        f"{where}, line {line}: {piece}"
        for where, piece, line in found_in(module)
        if piece not in EXEMPT.get(where, {})
    ]
    assert not unknown, "quote it by lightvec.wire.identifiers.identifier, or send it as a parameter"


def test_no_exemption_is_left_over() -> None:
    found = {(where, piece) for module in MODULES for where, piece, _ in found_in(module)}
    assert found == {(where, piece) for where, pieces in EXEMPT.items() for piece in pieces}


def test_one_place_quotes() -> None:
    doubling = """replace('"', '""')"""
    assert [module for module in MODULES if doubling in (ROOT / module).read_text(encoding="utf-8")] == [
        "wire/identifiers.py"
    ]


@for_each("module", MODULES)
def test_every_limit_has_an_order(module: str) -> None:
    """Else other rows may come from run to run."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if re.search(r"\bLIMIT [\d$:%{]", text) and "ORDER BY" not in text] == []


@for_each("module", [module for module in MODULES if "{identifier(" in (ROOT / module).read_text("utf-8")])
def test_a_quote_that_is_taken_away_is_missed(module: str) -> None:
    source = (ROOT / module).read_text(encoding="utf-8")
    for part in range(1, source.count("{identifier(") + 1):
        first, last = source.split("{identifier(")[:part], source.split("{identifier(")[part:]
        without = "{identifier(".join(first) + "{str(" + "{identifier(".join(last)
        assert len(findings(without)) > len(findings(source))


# The checker itself

BAD = {
    'f"DROP TABLE {name}"': "name",
    'f"DROP TABLE \\"{name}\\""': "name",
    '"DROP TABLE " + name': "name",
    '"DROP TABLE " + name + ";"': "name",
    'name + " SET x = 1"': "name",
    '"DROP TABLE %s" % name': "name",
    '"DROP TABLE %s.%s" % (identifier(name), name)': "name",
    '"DROP TABLE {}".format(name)': "name",
    '"DROP TABLE {t}".format(t=name)': "name",
    '"DROP TABLE x".replace("x", name)': "name",
    "f\"SELECT {', '.join(name)} FROM x\"": "', '.join(name)",
    "f\"SELECT {', '.join(f'{each}' for each in name)}\"": "', '.join((f'{each}' for each in name))",
    '" ".join(["DROP TABLE", name])': "['DROP TABLE', name]",
    'f"DROP TABLE {name!r}"': "name",
    'f"DROP TABLE {name:>20}"': "name",
    'f"SAVEPOINT {quoted(name)}"': "quoted(name)",
    'f"DROP TABLE {identifier(name)} {name}"': "name",
    'f"LIMIT {str(5)}" f" FETCH {name}"': "str(5)",
    'conn.run(f"{verb} x")': "verb",
    'database.execute_sql(verb + " x")': "verb",
    'ctx.literal(f" {name} ")': "name",
    'SQL(f"{name} ASC")': "name",
    "Target(name, columns)": "name",
    "Target(self.name, columns)": "self.name",
}

GOOD = (
    '"DROP TABLE x"',
    'f"DROP TABLE {identifier(name)}"',
    'f"DROP TABLE {identifier(schema, name)} CASCADE"',
    'f"FETCH {int(name)}"',
    'f"FETCH {name:d}"',
    "f\"SELECT {', '.join(identifier(each) for each in name)} FROM x\"",
    '"SELECT " + "x"',
    '"DROP TABLE " + identifier(name)',
    '"DROP TABLE %s" % identifier(name)',
    'f"expected {name}, got {other}"',
    'conn.run("SELECT :a", a=name)',
    "account.run([name, other])",
    "Target(identifier(name), columns)",
)


@for_each("snippet", BAD)
def test_what_it_finds(snippet: str) -> None:
    source = f"def make(name, verb, columns):\n    {snippet}\n"
    assert [(finding.function, finding.piece) for finding in findings(source)][:1] == [("make", BAD[snippet])]


@for_each("snippet", GOOD)
def test_what_it_passes(snippet: str) -> None:
    assert findings(f"def make(name, schema, other, columns):\n    {snippet}\n") == []


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ('quoted = identifier(name)\n    f"DROP TABLE {quoted}"', 0),
        ('quoted = identifier(name)\n    quoted = name\n    f"DROP TABLE {quoted}"', 1),
        ('quoted = name\n    f"DROP TABLE {quoted}"', 1),
        ('a, b = identifier(name), "x"\n    f"DROP TABLE {a}.{b}"', 0),
        ('a, b = identifier(name), name\n    f"DROP TABLE {a}.{b}"', 1),
        ('all = [identifier(each) for each in name]\n    for one in all:\n        f"DROP TABLE {one}"', 0),
        ('for one in name:\n        f"DROP TABLE {one}"', 1),
        ('for one in range(3):\n        f"DROP TABLE x{one}"', 0),
        ('some = identifier(name)\n    some += f", {name}"\n    f"DROP TABLE {some}"', 1),
        ('with name as one:\n        f"DROP TABLE {one}"', 1),
        ('if (one := name):\n        f"DROP TABLE {one}"', 1),
        ("some = []\n    some.append(name)\n    f\"DROP TABLE {', '.join(some)}\"", 1),
        ('part = f"x = {name}"\n    f"DELETE FROM x WHERE {part}"', 1),
        ('raise ValueError(f"DROP TABLE {name}")', 0),
        ('f"DROP TABLE {self.quoted}"', 1),
    ],
)
def test_what_names_are_bound_to(body: str, count: int) -> None:
    assert len(findings(f"def make(self, name):\n    {body}\n")) == count


@pytest.mark.parametrize(("bound", "count"), [("identifier(name)", 0), ("name", 1)])
def test_an_attribute_of_a_class(bound: str, count: int) -> None:
    source = f"""
class Cursor:
    def __init__(self, name):
        self._name = {bound}

    def close(self):
        return f"CLOSE {{self._name}}"
"""
    assert len(findings(source)) == count
