"""The private names of Peewee that lightvec uses: all of them are listed here and known to one module only."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import peewee
import playhouse.pool

import lightvec

MODULES = (peewee, playhouse.pool)

ROOT = Path(lightvec.__file__).parent
SEAM = ROOT / "peewee" / "_seam.py"

#: Owner, name and signature (None: not a function). An attribute counts as found if the owner's source assigns it.
PRIVATE_NAMES: list[tuple[str, str, str | None]] = [
    ("peewee", "_BasePsycopgAdapter", None),
    ("peewee", "__exception_wrapper__", None),
    ("peewee._ConnectionState", "closed", None),
    ("peewee._ConnectionState", "conn", None),
    ("peewee._ConnectionState", "ctx", None),
    ("peewee._ConnectionState", "reset", "(self)"),
    ("peewee._ConnectionState", "transactions", None),
    ("peewee.CTE", "_columns", None),
    ("peewee.CTE", "_query", None),
    ("peewee.BaseModelSelect", "_get_cursor_wrapper", "(self, cursor)"),
    ("peewee.BaseQuery", "_cursor_wrapper", None),
    ("peewee.BaseQuery", "_database", None),
    ("peewee.Context", "_sql", None),
    ("peewee.Context", "_values", None),
    ("peewee.Database", "_connect", "(self)"),
    ("peewee.Database", "_lock", None),
    ("peewee.Database", "_notify_hooks", "(self, sql, params, start, exc)"),
    ("peewee.Database", "_state", None),
    ("peewee.Entity", "_path", None),
    ("peewee.Field", "_sequence_parts", "(self)"),
    ("peewee.Index", "_name", None),
    ("peewee.Index", "_safe", None),
    ("peewee.Index", "_table", None),
    ("peewee.Index", "_unique", None),
    ("peewee.Index", "_using", None),
    ("peewee.Index", "_where", None),
    ("peewee.Index", "_expressions", None),
    ("peewee.JSONPath", "_field", None),
    ("peewee.JSONPath", "_keys", None),
    ("peewee.ModelIndex", "_generate_name_from_fields", "(self, model, fields)"),
    ("peewee.ModelIndex", "_model", None),
    ("peewee.ModelSelect", "_is_default", None),
    ("peewee.ModelSelect", "_joins", None),
    ("peewee.OnConflict", "_conflict_target", None),
    ("peewee.OnConflict", "_update", None),
    ("peewee.PostgresqlDatabase", "_adapter", None),
    ("peewee.PostgresqlDatabase", "_isolation_level", None),
    ("peewee.Query", "_cte_list", None),
    ("peewee.Select", "_returning", None),
    ("peewee.Query", "_limit", None),
    ("peewee.Query", "_offset", None),
    ("peewee.Query", "_order_by", None),
    ("peewee.Query", "_where", None),
    ("peewee.SchemaManager", "_create_foreign_key", "(self, field)"),
    ("peewee.SchemaManager", "_create_index", "(self, index, safe=True)"),
    ("peewee.SchemaManager", "_create_sequence", "(self, field)"),
    ("peewee.SchemaManager", "_create_table", "(self, safe=True, **options)"),
    ("peewee.Select", "_distinct", None),
    ("peewee.Select", "_for_update", None),
    ("peewee.Select", "_from_list", None),
    ("peewee.Select", "_group_by", None),
    ("peewee.Select", "_having", None),
    ("peewee.Select", "_lateral", None),
    ("peewee.Select", "_returning", None),
    ("peewee.Select", "_simple_distinct", None),
    ("peewee.Select", "_windows", None),
    ("peewee.Source", "_alias", None),
    ("peewee.Update", "_update", None),
    ("playhouse.pool", "_PooledPostgresqlDatabase", None),
    ("playhouse.pool.PooledDatabase", "_connections", None),
    ("playhouse.pool.PooledDatabase", "_in_use", None),
    ("playhouse.pool.PooledDatabase", "_pool_available", None),
    ("playhouse.pool.PooledDatabase", "_pool_lock", None),
]

NAMES = {name for _, name, _ in PRIVATE_NAMES if name.startswith("_")}
#: Peewee documents it.
PUBLIC = {"_meta"}


def difference(owner: str, name: str, signature: str | None) -> str | None:
    """What this release of Peewee has in place of a private name, or None if it has that."""
    module, _, path = owner.partition(".")
    if owner.startswith("playhouse.pool"):
        module, path = "playhouse.pool", owner.removeprefix("playhouse.pool").lstrip(".")
    holder: Any = importlib.import_module(module)
    if path:
        holder = getattr(holder, path, None)
        if holder is None:
            return f"{owner} is gone"
    found = getattr(holder, name, None)
    if found is None:
        return None if name in assigned(holder) else f"{owner}.{name} is gone"
    if signature is None:
        return None
    if str(inspect.signature(found)) != signature:
        return f"{owner}.{name}{signature} is now {inspect.signature(found)}"
    return None


def assigned(holder: Any) -> set[str]:
    """The attributes that a class of Peewee's, or a class above it, sets on its instances."""
    return set().union(*(assignments().get(each.__name__, ()) for each in holder.__mro__))


@cache
def assignments() -> dict[str, set[str]]:
    """What each class of Peewee's assigns to ``self``."""
    classes = (node for tree in map(parsed, MODULES) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return {node.name: stored(node, self_only=True) for node in classes}


def parsed(module: Any) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def stored(tree: ast.AST, *, self_only: bool) -> set[str]:
    """The attributes that a piece of code assigns."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return {node.attr for node in nodes if is_self(node.value) or not self_only}


def defined(tree: ast.AST) -> set[str]:
    """The functions and classes in a piece of code."""
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_this_release_of_peewee_has_what_the_seam_uses() -> None:
    changed = [found for each in PRIVATE_NAMES if (found := difference(*each)) is not None]
    assert changed == [], f"Peewee {version('peewee')}"


def private_names_of_peewee() -> set[str]:
    """All private names that Peewee's modules define or assign."""
    found = set().union(*(defined(tree) | stored(tree, self_only=False) for tree in map(parsed, MODULES)))
    return {name for name in found if name.startswith("_") and not name.endswith("__")} - PUBLIC


def is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def is_inherited(node: ast.AST) -> bool:
    is_super = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    return is_self(node) or is_super


def uses(tree: ast.AST, theirs: set[str]) -> Iterator[str]:
    """The private names of Peewee that a module imports, or reads on anything but ``self``; unlisted ones on that."""
    ours = (defined(tree) | stored(tree, self_only=True)) - NAMES
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("peewee", "playhouse"):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr in theirs - ours:
            if is_inherited(node.value) and node.attr in NAMES:
                continue
            yield f"{ast.unparse(node)} in line {node.lineno}"


def test_other_modules_use_no_private_names_of_peewee() -> None:
    theirs = private_names_of_peewee()
    assert theirs >= {"_pk_expr", "_schema", "_where"}
    found = {}
    for module in sorted({*ROOT.rglob("*.py")} - {SEAM}):
        text = module.read_text(encoding="utf-8")
        is_near_peewee = re.search(r"^\s*(from|import) (peewee|playhouse|lightvec\.peewee)\b", text, re.MULTILINE)
        if is_near_peewee and (names := list(uses(ast.parse(text), theirs))):
            found[str(module.relative_to(ROOT))] = names
    assert found == {}
