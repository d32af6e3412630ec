"""Lists in CASE and function calls, which Peewee does not convert to vectors."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from peewee import SQL, Case, Field, FieldAlias, Function, Node, Value

from lightvec.types.inputs import is_ndarray

#: Their result has the type of their arguments.
_SAME_TYPE = ("coalesce", "greatest", "least", "nullif")


def convert_lists(node: Any, target: Any = None) -> Any:
    """A Case or Function with lists converted by the vector field in it, or ``target``."""
    if isinstance(node, Case):
        field, compared = _vector_field(_results(node)) or target, _vector_field([node.predicate])
        case = node.clone()
        case.expression_tuples = tuple(
            (_converted(test, compared), _converted(value, field)) for test, value in node.expression_tuples
        )
        case.default = _converted(node.default, field)
        return case
    field = _vector_field(node.arguments)
    if field is None and node.name.lower() in _SAME_TYPE:
        field = target
    if field is None:
        return node
    call = node.clone()
    call.arguments = tuple(_converted(each, field) for each in node.arguments)
    return call


def convert_update(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The values of an UPDATE, each with the type of its field."""
    return {
        field: _assigned(value, field) if isinstance(value, (Case, Function)) else value
        for field, value in values.items()
    }


def _assigned(value: Any, field: Any) -> Any:
    if _vector_field([field]):
        value = convert_lists(value, field)
    if isinstance(value, Case) and isinstance(field, Field) and all(map(_is_null, _results(value))):
        # PostgreSQL takes a CASE of untyped NULLs for text.
        value = value.clone()
        value.default = Case(None, [(SQL("false"), field)])
    return value


def _results(case: Any) -> list[Any]:
    return [*(value for _, value in case.expression_tuples), case.default]


def _is_null(value: Any) -> bool:
    return value is None or (type(value) is Value and value.value is None)


def _converted(value: Any, field: Any) -> Any:
    if field is None or value is None:
        return value
    if isinstance(value, (Case, Function)):
        return convert_lists(value, field)
    is_list = isinstance(value, (list, tuple, array)) or is_ndarray(value)
    return field.to_value(value) if is_list and not isinstance(value, Node) else value


def _vector_field(nodes: Iterable[Any]) -> Any:
    for node in nodes:
        field = node.field if isinstance(node, FieldAlias) else node
        if isinstance(field, Field) and hasattr(field, "distance_by"):
            return field
    return None
