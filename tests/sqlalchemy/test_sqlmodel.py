"""SQLModel takes the types as SQLAlchemy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Column, Engine
from sqlmodel import Field, Session, SQLModel, col, select

from lightvec import Vector
from lightvec.sqlalchemy import BIT, VECTOR


class Hero(SQLModel, table=True):
    __tablename__ = "sqlmodel_hero"

    id: int | None = Field(default=None, primary_key=True)
    embedding: Any = Field(sa_type=VECTOR(3))
    other: list[float] | None = Field(default=None, sa_column=Column(VECTOR(2, metric="l2")))
    bits: str | None = Field(default=None, sa_type=BIT(3))


def test_a_model(engine: Engine) -> None:
    SQLModel.metadata.drop_all(engine)
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Hero(embedding=[1, 2, 3], other=[1, 1], bits="101"))
        session.add(Hero(embedding=np.array([4, 5, 6])))
        session.commit()
        embedding: Any = col(Hero.embedding)
        hero = session.exec(select(Hero).order_by(embedding.l2_distance([4, 4, 4]))).first()
        assert hero is not None
        assert (hero.embedding, type(hero.embedding)) == ([4, 5, 6], Vector)
        other: Any = col(Hero.other)
        assert session.exec(select(other.score([1, 1])).where(other == [1, 1])).all() == [1]
    SQLModel.metadata.drop_all(engine)
