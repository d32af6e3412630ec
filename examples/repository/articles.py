"""Articles, and where they are kept: callers know neither SQL nor vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from peewee import Model, TextField

from lightvec.peewee import Pg8000Database, VectorField

#: What turns a text into its embedding: a model, or a service that has one.
Embed = Callable[[str], Sequence[float]]

database = Pg8000Database()  # whatever DATABASE_URL names


@dataclass(frozen=True)
class Article:
    """What the program works with."""

    slug: str
    text: str


class NotFound(LookupError):
    """There is no article with this slug."""


class ArticleRepository:
    """Keeps articles, and finds them by what they mean."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed

    def add(self, article: Article) -> None:
        """Keep an article, in place of one with the same slug."""
        self.add_all([article])

    def add_all(self, articles: Iterable[Article]) -> int:
        """Keep any number of articles, all or none; how many there were."""
        rows = (
            {"slug": article.slug, "text": article.text, "embedding": self._embed(article.text)} for article in articles
        )
        return database.copy_rows(StoredArticle, rows, on_conflict="update")

    def get(self, slug: str) -> Article:
        """The article with this slug."""
        return self._stored(slug).article()

    def search(self, text: str, k: int = 10, *, at_least: float | None = None) -> list[Article]:
        """The articles that are nearest to a text; with ``at_least``, only those of that score."""
        found = StoredArticle.embedding.nearest(self._embed(text), k, min_score=at_least)
        return [stored.article() for stored in found]

    def similar(self, slug: str, k: int = 3) -> list[Article]:
        """What else there is like this article; its embedding stays where it is."""
        return [other.article() for other in StoredArticle.embedding.nearest(self._stored(slug), k)]

    def _stored(self, slug: str) -> StoredArticle:
        stored = StoredArticle.get_or_none(StoredArticle.slug == slug)
        if stored is None:
            raise NotFound(f"there is no article {slug!r}")
        return stored


class StoredArticle(Model):
    """The table, which is the repository's own business."""

    slug = TextField(primary_key=True)
    text = TextField()
    embedding = VectorField(4, metric="cosine", index="hnsw")

    class Meta:
        database = database
        table_name = "example_article"

    def article(self) -> Article:
        """The row as what the program works with."""
        return Article(self.slug, self.text)
