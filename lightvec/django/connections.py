"""Registers pgvector's types on each new connection of Django's, by their OIDs in its database.

Drivers need it for arrays, which they return as one text otherwise; ``inspectdb`` needs it for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.signals import connection_created

from lightvec.extension import TYPES_SQL, ExtensionTypes, types_from

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["forget", "register", "register_types", "types_of"]

#: OIDs of PostgreSQL's own type, ``bit(n)`` and its array: ``pg_type.dat``.
_BIT, _BIT_ARRAY = 1560, 1561

_PREFIX = "lightvec.django."
_FIELDS = {
    "vector": "VectorField",
    "halfvec": "HalfVectorField",
    "sparsevec": "SparseVectorField",
    "bit": "BitField",
}

_SIZES_SQL = """\
SELECT attname, atttypmod FROM pg_catalog.pg_attribute
WHERE attrelid = %s::pg_catalog.regclass AND atttypmod > 0"""

_Place = tuple[str, str]
_known: dict[_Place, ExtensionTypes] = {}


def register() -> None:
    """Register the types on each new connection."""
    connection_created.connect(_on_connection, dispatch_uid="lightvec.django")


def _on_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql" and connection.alias != NO_DB_ALIAS:
        register_types(connection)


def register_types(connection: BaseDatabaseWrapper) -> None:
    """Register the types with an open connection's driver and with ``inspectdb``."""
    types = types_of(connection)
    for name, array_oid in types.array_oids.items():
        _register_array(connection.connection, name, types.oids[name], array_oid)
    _register_array(connection.connection, "bit", _BIT, _BIT_ARRAY)
    introspection: Any = connection.introspection
    if not isinstance(introspection, _Introspection):
        kind = type(introspection)
        introspection.__class__ = type(kind.__name__, (_Introspection, kind), {})
    # For this connection: another one's database has other OIDs.
    introspection.data_types_reverse = {
        **introspection.data_types_reverse,
        **{oid: _PREFIX + _FIELDS[name] for name, oid in types.oids.items()},
        _BIT: _PREFIX + _FIELDS["bit"],
    }


class _Introspection:
    """Mixed into the introspection of a connection: ``inspectdb`` writes the sizes of vectors, too."""

    connection: BaseDatabaseWrapper
    data_types_reverse: dict[int, str]

    def get_table_description(self, cursor: Any, table_name: str) -> list[Any]:
        """Django's rows; the declared size of a vector column is its ``display_size``."""
        rows: list[Any] = super().get_table_description(cursor, table_name)  # type: ignore[misc]
        cursor.execute(_SIZES_SQL, [self.connection.ops.quote_name(table_name)])
        sizes = dict(cursor.fetchall())
        return [
            row._replace(display_size=sizes.get(row.name)) if self._is_vector(row.type_code) else row for row in rows
        ]

    def get_field_type(self, data_type: int, description: Any) -> str:
        """Django's answer; of a vector column with a size, the call that it begins."""
        field: str = super().get_field_type(data_type, description)  # type: ignore[misc]
        if not self._is_vector(data_type) or description.display_size is None:
            return field
        keyword = "length" if data_type == _BIT else "dimensions"
        return _Call(f"{field}({keyword}={description.display_size}")

    def _is_vector(self, data_type: int) -> bool:
        return self.data_types_reverse.get(data_type, "").startswith(_PREFIX)


class _Call(str):
    """A field's call with its first argument, to which ``inspectdb`` adds a parenthesis in vain."""

    __slots__ = ()

    def __add__(self, parenthesis: str) -> str:
        return str(self)


def types_of(connection: BaseDatabaseWrapper) -> ExtensionTypes:
    """pgvector's types in the connection's database; queried again until the extension exists."""
    place = _place(connection)
    if place not in _known:
        connection.ensure_connection()
        # Not Django's own cursor, which counts and logs the program's queries.
        with connection.connection.cursor() as cursor:
            cursor.execute(TYPES_SQL)
            types = types_from(cursor.fetchall())
        if not types.oids:
            return types
        _known[place] = types
    return _known[place]


def forget(connection: BaseDatabaseWrapper) -> None:
    """Query again next time: the extension was created or dropped."""
    _known.pop(_place(connection), None)


def _place(connection: BaseDatabaseWrapper) -> _Place:
    # Django's test runner uses another database under the same alias.
    return connection.alias, str(connection.settings_dict["NAME"])


def _register_array(driver_connection: Any, name: str, oid: int, array_oid: int) -> None:
    """Have the driver split arrays of a type into texts."""
    if type(driver_connection).__module__.startswith("psycopg2"):
        from psycopg2 import STRING
        from psycopg2.extensions import new_array_type, register_type

        register_type(new_array_type((array_oid,), f"{name}[]", STRING), driver_connection)
    else:
        from psycopg.types import TypeInfo

        TypeInfo(name, oid, array_oid).register(driver_connection)
