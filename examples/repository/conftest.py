"""What the tests need; the fixtures ``lightvec_db`` and ``lightvec_models`` come with lightvec."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from peewee import Model

from examples.repository.articles import ArticleRepository, StoredArticle
from lightvec.peewee import Pg8000Database

TOPICS = ("tea", "garden", "train", "rain")


@pytest.fixture(scope="session")
def lightvec_models() -> Sequence[type[Model]]:
    """The models whose tables each test's database has."""
    return [StoredArticle]


def embed(text: str) -> list[float]:
    """In place of a model: how often a text speaks of each of four topics."""
    return [0.1 + text.lower().count(topic) for topic in TOPICS]


@pytest.fixture
def articles(lightvec_db: Pg8000Database) -> ArticleRepository:
    """A repository with nothing in it."""
    return ArticleRepository(embed)
