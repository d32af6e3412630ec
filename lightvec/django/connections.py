"""What each new connection of Django's is taught: pgvector's types, by the OIDs that they have in its database.

A value needs none of it, because its text is read. An array does: to a driver that does not know the type of its
items it is one long text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.signals import connection_created

from lightvec.extension import TYPES_SQL, ExtensionTypes, types_from

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["forget", "register", "teach", "types_of"]

#: OIDs of PostgreSQL's own type, ``bit(n)`` and its array: ``pg_type.dat``.
_BIT, _BIT_ARRAY = 1560, 1561

_FIELDS = {"vector": "VectorField", "halfvec": "HalfVectorField", "sparsevec": "SparseVectorField"}

_Place = tuple[str, str]
_known: dict[_Place, ExtensionTypes] = {}


def register() -> None:
    """Have each new connection taught."""
    connection_created.connect(_on_connection, dispatch_uid="lightvec.django")


def _on_connection(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql" and connection.alias != NO_DB_ALIAS:
        teach(connection)


def teach(connection: BaseDatabaseWrapper) -> None:
    """Tell an open connection's driver, and Django's ``inspectdb``, of pgvector's types."""
    types = types_of(connection)
    for name, array_oid in types.array_oids.items():
        _register_array(connection.connection, name, types.oids[name], array_oid)
    _register_array(connection.connection, "bit", _BIT, _BIT_ARRAY)
    introspection: Any = connection.introspection
    # For this connection: another one's database has other OIDs.
    introspection.data_types_reverse = {
        **introspection.data_types_reverse,
        **{oid: f"lightvec.django.{_FIELDS[name]}" for name, oid in types.oids.items()},
        _BIT: "lightvec.django.BitField",
    }


def types_of(connection: BaseDatabaseWrapper) -> ExtensionTypes:
    """What the connection's database says of pgvector, asked for until it has it, and once then."""
    place = _place(connection)
    if place not in _known:
        connection.ensure_connection()
        # Past Django's own cursor, which counts and logs the queries of the program.
        with connection.connection.cursor() as cursor:
            cursor.execute(TYPES_SQL)
            types = types_from(cursor.fetchall())
        if not types.oids:
            return types
        _known[place] = types
    return _known[place]


def forget(connection: BaseDatabaseWrapper) -> None:
    """Ask again: the extension was made or dropped."""
    _known.pop(_place(connection), None)


def _place(connection: BaseDatabaseWrapper) -> _Place:
    # Django's test runner puts another database behind the same alias.
    return connection.alias, str(connection.settings_dict["NAME"])


def _register_array(driver_connection: Any, name: str, oid: int, array_oid: int) -> None:
    """Have arrays of a type taken apart into its texts."""
    if type(driver_connection).__module__.startswith("psycopg2"):
        from psycopg2 import STRING
        from psycopg2.extensions import new_array_type, register_type

        register_type(new_array_type((array_oid,), f"{name}[]", STRING), driver_connection)
    else:
        from psycopg.types import TypeInfo

        TypeInfo(name, oid, array_oid).register(driver_connection)
