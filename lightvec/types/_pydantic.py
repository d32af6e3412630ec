"""What Pydantic asks of the value types, for models of Pydantic, SQLModel and FastAPI; loaded when it asks.

Protocol: Pydantic's documentation, "Custom types"; ``__pydantic_serializer__`` is what it looks for on a value whose
field has no type of its own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic_core import PydanticCustomError, SchemaSerializer, core_schema

from lightvec.errors import InvalidVector
from lightvec.types._dense import DenseVector
from lightvec.types._value import Value
from lightvec.types.columns import driver_value

__all__ = ["json_schema", "schema", "serializer"]


def schema(kind: type[Value]) -> core_schema.CoreSchema:
    """A field of the class: takes whatever the class can be made of, and its text."""

    def read(value: Any) -> Value:
        try:
            return driver_value(kind, value)
        except InvalidVector as error:
            raise PydanticCustomError("invalid_vector", "{reason}", {"reason": str(error)}) from error

    return core_schema.no_info_plain_validator_function(read, serialization=_in_json())


def json_schema(kind: type[Value]) -> dict[str, Any]:
    """What stands in JSON: the numbers of a dense vector; of the others the text, which is not as long."""
    if issubclass(kind, DenseVector):
        return {"type": "array", "items": {"type": "number"}}
    return {"type": "string"}


@cache
def serializer() -> SchemaSerializer:
    """What writes values of fields that are annotated otherwise, such as ``Any``."""
    return SchemaSerializer(core_schema.any_schema(serialization=_in_json()))


def _in_json() -> core_schema.SerSchema:
    return core_schema.plain_serializer_function_ser_schema(_json_value, when_used="json")


def _json_value(value: Any) -> Any:
    return value.to_list() if isinstance(value, DenseVector) else value.to_text()
