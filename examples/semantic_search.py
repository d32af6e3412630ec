"""Semantic search over 2,000 dictionary definitions: what means the same need not have a word in common.

    python -m examples.semantic_search

It prints::

    a very thin fiber made of glass that functions as a waveguide for light; used in bundles to transmit images
      0.598  glass wool: glass fibers spun and massed into bundles resembling wool
      0.410  catoptrics: branch of optics dealing with formation of images by mirrors
      0.374  nerve, nervus: any bundle of nerve fibers running to various organs and tissues of the…

    film consisting of a succession of related shots that develop a given subject in a movie (verbs)
      0.381  splice: join the ends of; "splice film"
      0.282  handcolor, handcolour: color by hand; "Some old photographs are handcolored"
      0.254  dunk, dip, souse, plunge, douse: immerse briefly into a liquid so as to wet, coat, or…

    Dutch economist noted for his work in econometrics (1903-1994) (0.35 and better)
      0.506  Jevons, William Stanley Jevons: English economist and logician who contributed to the…
      0.358  Waugh, Evelyn Waugh, Evelyn Arthur Saint John Waugh: English author of satirical novels…

    like the row `comparable`
      0.606  equatability: capability of being equated
      0.562  characteristic: a distinguishing quality
      0.530  contrast: the act of distinguishing by comparing differences

    of the true ten nearest of 50 queries: ~99.9% found
    recall over rows of the table: ~99.9%
"""

from __future__ import annotations

import textwrap

from examples.models import Gloss, database
from examples.wordnet import have_glosses, query_for, read_queries
from lightvec.peewee import Nearest, run_many
from lightvec.search import recall


def main() -> None:
    """Search by definitions that are not in the table, whose embeddings come with the data."""
    have_glosses()

    query = query_for("optical fiber")
    show(query.text, Gloss.embedding.nearest(query.embedding, k=3))
    # A condition: the index searches on until three rows pass it.
    query = query_for("sequence")
    show(f"{query.text} (verbs)", Gloss.embedding.nearest(query.embedding, k=3).where(Gloss.pos == "verb"))
    # Not the best three but all that are good enough.
    query = query_for("Tinbergen")
    show(f"{query.text} (0.35 and better)", Gloss.embedding.nearest(query.embedding, k=100, min_score=0.35))
    # What is like a row that is stored.
    show("like the row `comparable`", Gloss.embedding.nearest(Gloss.get(Gloss.lemma == "comparable"), k=3))

    # Fifty searches in one round trip, and how many of the true ten nearest they found.
    queries = list(read_queries())
    found = run_many(Gloss.embedding.nearest(query.embedding, k=10).select(Gloss.id) for query in queries)
    hits = sum(len({gloss.id for gloss in rows} & set(q.truth[:10])) for rows, q in zip(found, queries, strict=True))
    print(f"\nof the true ten nearest of {len(queries)} queries: {hits / len(queries) / 10:.1%} found")
    # The same without a truth to compare with: exact search gives it.
    print(f"recall over rows of the table: {recall(Gloss.embedding, k=10, sample=50).recall:.1%}")


def show(title: str, glosses: Nearest[Gloss]) -> None:
    """The rows of a search."""
    print(f"\n{title}")
    for gloss in glosses:
        print(f"  {gloss.score:.3f}  {textwrap.shorten(f'{gloss.lemma}: {gloss.text}', 90, placeholder='…')}")


if __name__ == "__main__":
    with database.connection_context():
        main()
