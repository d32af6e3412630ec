"""Lists in expressions, which Peewee does not convert to vectors."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from peewee import (
    OP,
    SQL,
    Alias,
    Case,
    Column,
    Expression,
    Field,
    FieldAlias,
    Function,
    Node,
    NodeList,
    SelectBase,
    Value,
)

from lightvec.errors import InvalidOption
from lightvec.metrics import METRICS
from lightvec.peewee._seam import selected_columns
from lightvec.types.inputs import is_ndarray

#: Their result has the type of their arguments.
_SAME_TYPE = ("coalesce", "greatest", "least", "nullif")
#: It has the type of the first one.
_OF_FIRST = ("avg", "sum", "l2_normalize", "any_value", "first_value", "last_value", "nth_value", "lag", "lead")
#: The distance methods of fields, and pgvector's functions. Peewee has ``call.name(x)`` mean ``name(x)``.
_METHODS = {each.method: each.method.replace("max_", "") for each in METRICS.values()}
_ARITHMETIC = (OP.ADD, OP.SUB, OP.MUL)


def convert_lists(node: Any, target: Any = None) -> Any:
    """A Case, Function or Expression with lists converted by the vector field in it, or ``target``."""
    if isinstance(node, Expression):
        return _converted_expression(node, target)
    if isinstance(node, Case):
        field, compared = _first_field(_results(node)) or target, vector_field(node.predicate)
        case = node.clone()
        case.expression_tuples = tuple(
            (_converted_test(test, compared, field), _converted(value, field)) for test, value in node.expression_tuples
        )
        case.default = _converted(node.default, field)
        return case
    if len(node.arguments) == 1 and node.name in _METHODS:
        raise InvalidOption(
            f"expected two vectors for {node.name}, got one: a function call has no methods, so write "
            f"fn.{_METHODS[node.name]}(call, vector)"
        )
    field = _first_field(node.arguments)
    if field is None and node.name.lower() in _SAME_TYPE:
        field = target
    if field is None:
        return node
    call = node.clone()
    call.arguments = tuple(_converted(each, field) for each in node.arguments)
    return call


def _converted_expression(node: Any, target: Any) -> Any:
    if not (_may_have_lists(node.lhs) or _may_have_lists(node.rhs)):
        return node
    field = _first_field([node.lhs, node.rhs]) or (target if node.op in _ARITHMETIC else None)
    if field is None:
        return node
    if node.op == OP.CONCAT:
        field = _of_any_size(field)
    converted = node.clone()
    converted.lhs = _converted(node.lhs, field)
    if node.op in (OP.IN, OP.NOT_IN) and _is_list(node.rhs):
        converted.rhs = [_converted(each, field) for each in node.rhs]
    elif isinstance(node.rhs, NodeList):  # BETWEEN
        converted.rhs = node.rhs.clone()
        converted.rhs.nodes = [_converted(each, field) for each in node.rhs.nodes]
    else:
        converted.rhs = _converted(node.rhs, field)
    return converted


def convert_update(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The values of an UPDATE, each with the type of its field."""
    return {
        field: _assigned(value, field) if isinstance(value, (Case, Function, Expression)) else value
        for field, value in values.items()
    }


def _assigned(value: Any, field: Any) -> Any:
    if vector_field(field):
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


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, array)) or is_ndarray(value)


def _may_have_lists(value: Any) -> bool:
    return isinstance(value, (Case, Function, NodeList)) or _is_list(value)


def _converted(value: Any, field: Any) -> Any:
    if field is None or value is None:
        return value
    if isinstance(value, (Case, Function, Expression)):
        # What has a vector field of its own is converted by it, once for all clauses.
        return value if vector_field(value) else convert_lists(value, field)
    return field.to_value(value) if _is_list(value) and not isinstance(value, Node) else value


def _converted_test(value: Any, compared: Any, field: Any) -> Any:
    """What a Case compares with: Peewee would convert it by the field that the Case itself is compared with."""
    value = _converted(value, compared)
    return value if field is None or isinstance(value, Node) else Value(value, converter=False, unpack=False)


def _first_field(nodes: Iterable[Any]) -> Any:
    return next(filter(None, map(vector_field, nodes)), None)


def vector_field(node: Any) -> Any:
    """The vector field whose type an expression has; None if it is not a vector."""
    if isinstance(node, FieldAlias):
        node = node.field
    if isinstance(node, Field):
        return node if hasattr(node, "distance_by") else None
    if isinstance(node, Alias):
        return vector_field(node.node)
    if isinstance(node, Case):
        return _first_field(_results(node))
    if isinstance(node, Function):
        return _field_of_call(node)
    if isinstance(node, Expression):
        field = _first_field([node.lhs, node.rhs]) if node.op in (*_ARITHMETIC, OP.CONCAT) else None
        return _of_any_size(field) if field and node.op == OP.CONCAT else field
    if isinstance(node, Column):
        return vector_field(selected_columns(node.source).get(node.name))
    if isinstance(node, SelectBase):
        columns = list(selected_columns(node).values())
        return vector_field(columns[0]) if len(columns) == 1 else None
    return None


def _field_of_call(call: Any) -> Any:
    name = call.name.lower()
    if name in _SAME_TYPE:
        return _first_field(call.arguments)
    field = _first_field(call.arguments[:1]) if name in (*_OF_FIRST, "subvector") else None
    return _of_any_size(field) if field and name == "subvector" else field


def _of_any_size(field: Any) -> Any:
    return type(field)()
