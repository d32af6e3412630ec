"""Tests of the repository, against a real database that is new for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.repository.articles import Article, ArticleRepository, NotFound, database

TEA = Article("on-tea", "Tea, and more tea in the garden.")
TRAIN = Article("by-train", "The train was late in the rain.")
RAIN = Article("rain", "Rain on the garden, rain on the tea.")


@pytest.fixture
def full(articles: ArticleRepository) -> ArticleRepository:
    articles.add_all([TEA, TRAIN, RAIN])
    return articles


def test_it_begins_empty(articles: ArticleRepository) -> None:
    assert articles.search("tea") == []


def test_search_finds_what_is_nearest_first(full: ArticleRepository) -> None:
    assert full.search("tea") == [TEA, RAIN, TRAIN]
    assert full.search("a train", k=1) == [TRAIN]
    assert full.search("tea", at_least=0.8) == [TEA]


def test_similar_leaves_out_the_article_itself(full: ArticleRepository) -> None:
    assert full.similar("on-tea") == [RAIN, TRAIN]


def test_the_same_slug_is_the_same_article(full: ArticleRepository) -> None:
    new = Article("on-tea", "No longer of a train.")
    full.add(new)
    assert full.get("on-tea") == new
    assert full.search("train", k=1) == [new]


def test_what_is_not_there(full: ArticleRepository) -> None:
    with pytest.raises(NotFound, match="no article 'on-coffee'"):
        full.get("on-coffee")
    with pytest.raises(NotFound):
        full.similar("on-coffee")


def test_articles_are_added_all_or_none(articles: ArticleRepository) -> None:
    def breaks_off() -> Iterator[Article]:
        yield TEA
        raise OSError("the feed broke off")

    with pytest.raises(OSError, match="broke off"):
        articles.add_all(breaks_off())
    assert articles.search("tea") == []


def test_a_transaction_of_the_caller(articles: ArticleRepository) -> None:
    with database.atomic() as transaction:
        articles.add(TEA)
        transaction.rollback()
    assert articles.search("tea") == []
