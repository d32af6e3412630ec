"""Semantic search over 2,000 dictionary definitions: what means the same need not have a word in common.

    python -m examples.semantic_search

It prints::

    Jupiter
      0.388  vertical circle: a great circle on the celestial sphere passing through the zenith and…
      0.360  flare, flame: shine with a sudden light; "The night sky flared with the massive…
      0.353  sunset, sundown: the time in the evening at which the sun begins to fall below the horizon

    hum, verbs only
      0.283  mumble, mutter, maunder, mussitate: talk indistinctly; usually in a low voice
      0.238  log out, log off: exit a computer; "Please log off before you go home"
      0.237  penny-pinch, nickel-and-dime: spend money frugally; spend as little as possible

    ruby, 0.4 and better
      0.491  opal: a translucent mineral consisting of hydrated silica of variable color; some…
      0.410  onyx: a chalcedony with alternating black and white bands; used in making cameos

    like the row `comparable`
      0.606  equatability: capability of being equated
      0.562  characteristic: a distinguishing quality
      0.530  contrast: the act of distinguishing by comparing differences

    of the true ten nearest of 50 queries: 100.0% found
    recall over rows of the table: 100.0%
"""

from __future__ import annotations

import textwrap

from examples.models import Gloss, database
from examples.wordnet import have_glosses, query_for, read_queries
from lightvec.peewee import Nearest, together
from lightvec.search import recall


def main() -> None:
    """Search by definitions that are not in the table, whose embeddings come with the data."""
    have_glosses()

    show("Jupiter", Gloss.embedding.nearest(query_for("Jupiter").embedding, k=3))
    # A condition: the index searches on until three rows pass it.
    show("hum, verbs only", Gloss.embedding.nearest(query_for("hum").embedding, k=3).where(Gloss.pos == "verb"))
    # Not the best three but all that are good enough.
    show("ruby, 0.4 and better", Gloss.embedding.nearest(query_for("ruby").embedding, k=100, min_score=0.4))
    # What is like a row that is stored.
    show("like the row `comparable`", Gloss.embedding.nearest(Gloss.get(Gloss.lemma == "comparable"), k=3))

    # Fifty searches in one round trip, and how many of the true ten nearest they found.
    queries = list(read_queries())
    found = together(Gloss.embedding.nearest(query.embedding, k=10).select(Gloss.id) for query in queries)
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
