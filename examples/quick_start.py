"""Quick start: a table with a vector column, a few rows, and the searches one needs first.

    python -m examples.quick_start

It prints::

    like tea: tea 0.996, coffee 0.980, cocoa 0.896
    the same, cheap and no tea: coffee 0.980, ladder 0.043
    scores of at least 0.9: tea, coffee
    like the product coffee: tea 0.963, cocoa 0.926
    by l2 instead: tea 0.141, coffee 0.245
    the mean of the drinks is nearest to coffee
"""

from __future__ import annotations

import os

from peewee import IntegerField, Model, TextField

from lightvec.peewee import Nearest, Pg8000Database, VectorField, avg

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))


class Product(Model):
    """A product. The metric is declared once; operator, index and score follow from it."""

    distance: float  # of a search
    score: float  # of a search, higher is better
    name = TextField(unique=True)
    cents = IntegerField()
    embedding = VectorField(3, metric="cosine", index="hnsw")

    class Meta:
        database = database
        table_name = "example_product"


def main() -> None:
    """Make the table, fill it and search it."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Product])
    database.create_tables([Product])
    Product.insert_many(
        [
            {"name": "tea", "cents": 320, "embedding": [0.9, 0.1, 0.0]},
            {"name": "coffee", "cents": 450, "embedding": [0.8, 0.3, 0.1]},
            {"name": "cocoa", "cents": 980, "embedding": [0.6, 0.1, 0.3]},
            {"name": "ladder", "cents": 720, "embedding": [0.0, 0.2, 0.9]},
        ]
    ).execute()

    # A list, a tuple, an array or a NumPy array: each is a vector.
    search = Product.embedding.nearest([1, 0.2, 0], k=3)
    print("like tea:", scores(search))
    # The search is a Peewee query: conditions, joins and columns go on it.
    print("the same, cheap and no tea:", scores(search.where(Product.cents < 900, Product.name != "tea")))
    good = Product.embedding.nearest([1, 0.2, 0], min_score=0.9)
    print("scores of at least 0.9:", ", ".join(product.name for product in good))
    # A stored row instead of a vector: what is like it? Its vector does not travel.
    coffee = Product.get(Product.name == "coffee")
    print("like the product coffee:", scores(Product.embedding.nearest(coffee, k=2)))
    by_l2 = Product.embedding.nearest([1, 0.2, 0], k=2, metric="l2")
    print("by l2 instead:", ", ".join(f"{product.name} {product.distance:.3f}" for product in by_l2))
    # A query that gives a vector serves, too.
    mean = Product.select(avg(Product.embedding)).where(Product.name != "ladder")
    print("the mean of the drinks is nearest to", Product.embedding.nearest(mean, k=1).get().name)


def scores(products: Nearest[Product]) -> str:
    """The names of products, best first, with their scores."""
    return ", ".join(f"{product.name} {product.score:.3f}" for product in products)


if __name__ == "__main__":
    with database.connection_context():
        main()
