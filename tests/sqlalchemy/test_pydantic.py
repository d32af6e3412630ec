"""Values in models of Pydantic, as SQLModel and FastAPI use them: read, written as JSON, described."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlmodel import Field, Session, SQLModel

from lightvec import Bit, HalfVector, SparseVector, Vector
from lightvec.sqlalchemy import SPARSEVEC, VECTOR

VALUES: list[tuple[Any, Any]] = [
    (Vector([1, 2.5]), [1, 2.5]),
    (HalfVector([1, 2.5]), [1, 2.5]),
    (SparseVector({1: 2.5}, 3), "{2:2.5}/3"),
    (Bit("101"), "101"),
]


class Page(BaseModel):
    embedding: Vector
    anything: Any = None
    numbers: list[float] = []


@pytest.mark.parametrize(("value", "written"), VALUES)
def test_a_value_is_written_and_read(value: Any, written: Any) -> None:
    own: TypeAdapter[Any] = TypeAdapter(type(value))
    for adapter in (own, TypeAdapter(Any)):
        assert json.loads(adapter.dump_json(value)) == written
        assert adapter.dump_python(value) is value
    assert own.validate_json(own.dump_json(value)) == value
    for given in (value, value.to_text(), value.to_list(), value.to_numpy()):
        read = own.validate_python(given)
        assert (type(read), read) == (type(value), value)
    assert own.json_schema() == own.json_schema(mode="serialization")
    assert own.json_schema()["type"] == ("array" if isinstance(written, list) else "string")


def test_a_model() -> None:
    page = Page(embedding=np.array([1, 2.5]), anything=Vector([3]), numbers=Vector([4]))  # type: ignore[arg-type]
    assert (page.embedding, page.numbers) == (Vector([1, 2.5]), [4.0])
    assert page.model_dump() == {"embedding": Vector([1, 2.5]), "anything": Vector([3]), "numbers": [4]}
    assert page.model_dump_json() == '{"embedding":[1.0,2.5],"anything":[3.0],"numbers":[4.0]}'
    with pytest.raises(ValidationError, match="expected a finite number at index 0 and got nan") as raised:
        Page.model_validate({"embedding": [float("nan")]})
    assert raised.value.errors()[0]["type"] == "value_error"


def test_who_looks_at_all_members_needs_no_pydantic() -> None:
    use = "import inspect, sys; from lightvec import Vector; inspect.getmembers(Vector([1]))"
    code = f"{use}; print('pydantic_core' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


class Scroll(SQLModel, table=True):
    __tablename__ = "sqlmodel_scroll"

    id: int | None = Field(default=None, primary_key=True)
    embedding: Vector = Field(sa_type=VECTOR(2))
    sparse: SparseVector | None = Field(default=None, sa_type=SPARSEVEC(3))
    other: Any = Field(default=None, sa_type=VECTOR(1))


def test_a_table_of_sqlmodel(wire: Any) -> None:
    SQLModel.metadata.create_all(wire, tables=[Scroll.__table__])  # type: ignore[attr-defined]
    with Session(wire) as session:
        session.add(Scroll(embedding=Vector([1, 2]), other=[3]))
        session.commit()
        found = session.get_one(Scroll, 1)
        assert json.loads(found.model_dump_json()) == {"id": 1, "embedding": [1, 2], "sparse": None, "other": [3]}
        assert found.embedding == Vector([1, 2])
    SQLModel.metadata.drop_all(wire, tables=[Scroll.__table__])  # type: ignore[attr-defined]
