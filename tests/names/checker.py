"""Finds, in a module's syntax tree, what is put into SQL that is not known to be quoted.

SQL is a text with one of its key words in capitals. What is put into it (by an f-string, ``+``, ``%``, ``.format``,
``.replace`` or ``.join``) must be a call of a quoting function, an integer, a text written in the code, SQL that is
itself checked here, or a name that is bound to nothing else in its function (an attribute of ``self``: in its class).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Finding", "findings"]

_KEYWORDS = (
    "ADD ALTER BEGIN CALL CASE CLOSE COLLATE COMMENT COMMIT COPY CREATE DECLARE DELETE DROP EXECUTE EXPLAIN FETCH FROM "
    "GRANT INSERT INTO LISTEN LOCK NOTIFY ORDER PREPARE RELEASE RENAME RESET REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW "
    "TABLE TRUNCATE UPDATE USING VACUUM VALUES WHERE WITH"
)
_SQL = re.compile(rf"\b({_KEYWORDS.replace(' ', '|')})\b")

#: What makes a name SQL, and what makes an integer of anything.
_QUOTING, _NUMBERS = frozenset({"identifier", "text_literal"}), frozenset({"int", "len", "range"})

#: Classes whose first argument must be quoted: others put it into SQL.
_KEEPS_QUOTED = frozenset({"Target"})

#: Methods whose first argument is SQL whatever stands in it, and Peewee's class for it.
_TAKES_SQL = re.compile(r"execute(_\w+)?|literal|run|SQL")
#: Of these, what is no text at all: programs, and parts of the protocol.
_NO_SQL = frozenset({"messages", "programs", "subprocess", "self"})


class Finding(NamedTuple):
    """Something that is put into SQL: where, and how it is written."""

    function: str
    piece: str
    line: int


@dataclass
class _Scope:
    """What the names of a function, or the attributes of a class, are bound to; None for what cannot be told."""

    name: str
    bound: dict[str, list[ast.expr | None]] = field(default_factory=dict)

    def bind(self, target: ast.expr, value: ast.expr | None) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            values: list[ast.expr | None] = [None] * len(target.elts)
            if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
                values = [*value.elts]
            for each, its in zip(target.elts, values, strict=True):
                self.bind(each, its)
        elif isinstance(target, (ast.Name, ast.Attribute)):
            self.bound.setdefault(ast.unparse(target), []).append(value)


def findings(source: str) -> list[Finding]:
    """What is put into the SQL of a module and is not known to be quoted, in the order of its lines."""
    return sorted(_Checker().found(ast.parse(source)), key=lambda finding: finding.line)


class _Checker:
    def __init__(self) -> None:
        self._scopes: list[_Scope] = []

    def found(self, tree: ast.AST) -> Iterator[Finding]:
        """The findings below a node."""
        if isinstance(tree, ast.Raise):
            return  # What an error says.
        opened = isinstance(tree, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if opened:
            self._scopes.append(_scope(tree))
        if isinstance(tree, ast.expr) and self._is_sql(tree):
            yield from self._unsafe(tree)
        else:
            for sql in self._handed_over(tree):
                yield from self._unsafe(sql)
            if isinstance(tree, ast.Call) and tree.args and _name(tree.func) in _KEEPS_QUOTED:
                yield from self._judged(tree.args[0])
            for child in ast.iter_child_nodes(tree):
                yield from self.found(child)
        if opened:
            self._scopes.pop()

    def _handed_over(self, node: ast.AST) -> Iterator[ast.expr]:
        """SQL that has none of the words, and goes where SQL is run."""
        if isinstance(node, ast.Call) and node.args and _is_built(node.args[0]) and not self._is_sql(node.args[0]):
            name, owner = _name(node.func), ast.unparse(getattr(node.func, "value", node.func))
            if _TAKES_SQL.fullmatch(name) and not _NO_SQL & set(owner.split(".")):
                yield node.args[0]

    @staticmethod
    def _is_sql(node: ast.expr) -> bool:
        return _is_built(node) and any(_SQL.search(text) for text in _texts(node))

    def _unsafe(self, node: ast.expr) -> Iterator[Finding]:
        for piece in _pieces(node):
            yield from self._judged(piece)

    def _judged(self, piece: ast.expr) -> Iterator[Finding]:
        if not self._is_safe(piece, frozenset()):
            function = ".".join(scope.name for scope in self._scopes if scope.name)
            written = piece.value if isinstance(piece, ast.FormattedValue) else piece
            yield Finding(function, ast.unparse(written), piece.lineno)

    def _is_safe(self, node: ast.expr | None, seen: frozenset[str]) -> bool:
        if node is None:
            return False
        if isinstance(node, ast.Constant):
            return isinstance(node.value, (str, int))
        if _is_built(node):
            return all(self._is_safe(piece, seen) for piece in _pieces(node))
        if isinstance(node, ast.Call):
            return _name(node.func) in _QUOTING | _NUMBERS
        if isinstance(node, ast.FormattedValue):
            return _as_integer(node) or (node.conversion == -1 and self._is_safe(node.value, seen))
        if isinstance(node, ast.IfExp):
            return self._is_safe(node.body, seen) and self._is_safe(node.orelse, seen)
        if isinstance(node, (ast.List, ast.Tuple)):
            return all(self._is_safe(each, seen) for each in node.elts)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self._comprehends(node, seen)
        if isinstance(node, ast.BinOp):
            return self._is_safe(node.left, seen) and self._is_safe(node.right, seen)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._is_bound(ast.unparse(node), seen)
        return False

    def _comprehends(self, node: ast.ListComp | ast.GeneratorExp, seen: frozenset[str]) -> bool:
        """Each element is safe; what a loop goes over, its variable has."""
        scope = _Scope("")
        for loop in node.generators:
            scope.bind(loop.target, loop.iter)
        self._scopes.append(scope)
        is_safe = self._is_safe(node.elt, seen)
        self._scopes.pop()
        return is_safe

    def _is_bound(self, name: str, seen: frozenset[str]) -> bool:
        """Whether all that a name is ever bound to, in the nearest scope that binds it, is safe."""
        if name in seen:
            return True  # It is bound to itself and something more, which is looked at elsewhere.
        for scope in reversed(self._scopes):
            if name in scope.bound:
                return all(self._is_safe(value, seen | {name}) for value in scope.bound[name])
        return False


def _is_built(node: ast.AST) -> bool:
    """Whether a text is put together here."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(value, ast.FormattedValue) for value in node.values)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Mod)) and any(True for _ in _texts(node))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "format_map", "join", "replace") and any(
            True for _ in _texts(node.func.value)
        )
    return False


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts of the code that a text is put together of."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from _texts(value)
    elif isinstance(node, ast.FormattedValue):
        yield from _texts(node.value)
    elif isinstance(node, ast.BinOp):
        yield from _texts(node.left)
        yield from _texts(node.right)
    elif isinstance(node, (ast.List, ast.Tuple)):
        for value in node.elts:
            yield from _texts(value)
    elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        yield from _texts(node.elt)
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _texts(node.func.value)
        for value in node.args:
            yield from _texts(value)


def _pieces(node: ast.expr) -> Iterator[ast.expr]:
    """What is put into a text, apart from texts of the code."""
    if isinstance(node, ast.JoinedStr):
        yield from (value for value in node.values if isinstance(value, ast.FormattedValue))
    elif isinstance(node, ast.BinOp):
        right = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        for side in (node.left, *right):
            yield from _pieces(side) if _is_built(side) else iter([side])
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield node.func.value
        yield from node.args
        yield from (keyword.value for keyword in node.keywords)


def _as_integer(value: ast.FormattedValue) -> bool:
    """``{value:d}`` raises where the value is no integer."""
    wanted = value.format_spec
    return isinstance(wanted, ast.JoinedStr) and [*_texts(wanted)] == ["d"]


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _scope(tree: ast.AST) -> _Scope:
    """The bindings of a module, class or function, without those of the functions in it."""
    scope = _Scope(getattr(tree, "name", ""))
    if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for argument in ast.walk(tree.args):
            if isinstance(argument, ast.arg):
                scope.bind(ast.Name(argument.arg), None)
    inside = ast.walk(tree) if isinstance(tree, ast.ClassDef) else _own(tree)
    for node in inside:
        for target, value in _bindings(node):
            if not isinstance(tree, ast.ClassDef) or isinstance(target, ast.Attribute):
                scope.bind(target, value)
    return scope


def _own(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child
            yield from _own(child)


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
        if node.value is not None:
            yield node.target, node.value
    elif isinstance(node, (ast.For, ast.AsyncFor)):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, None
    elif isinstance(node, ast.Call) and _name(node.func) in ("append", "extend") and len(node.args) == 1:
        # A list is what is put into it.
        yield getattr(node.func, "value", node.func), node.args[0]
