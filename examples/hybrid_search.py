"""Hybrid search: words find what is named, vectors what is meant, and rank fusion takes the best of both.

    python -m examples.hybrid_search

It prints::

    the words `treasury tax` alone
      vector words
          16     1  declaration of estimated tax, estimated tax return: return required of a taxpayer…
          14     2  tax write-off, tax deduction, deduction: a reduction in the gross amount on which a…
           1     3  Secretary of the Treasury, Treasury Secretary: the person who holds the…

    the vector of `the bureau of the Treasury Department responsible for tax collections` alone
      vector words
           1     3  Secretary of the Treasury, Treasury Secretary: the person who holds the…
           2     -  customs, customs duty, custom, impost: money collected under a tariff
           3     -  White House, EXEC: the chief executive department of the United States government

    both
      vector words
           1     3  Secretary of the Treasury, Treasury Secretary: the person who holds the…
          14     2  tax write-off, tax deduction, deduction: a reduction in the gross amount on which a…
          16     1  declaration of estimated tax, estimated tax return: return required of a taxpayer…
          12     4  rates: a local tax on property (usually used in the plural)
           2     -  customs, customs duty, custom, impost: money collected under a tariff

    both, among people
      vector words
           1     1  Secretary of the Treasury, Treasury Secretary: the person who holds the…
           2     -  town clerk: the official who keeps a town's records
           3     -  social secretary: a personal secretary who handles your social correspondence and…
"""

from __future__ import annotations

import textwrap

from examples.models import Gloss, database
from examples.wordnet import have_glosses, query_for
from lightvec.search import Hybrid, hybrid


def main() -> None:
    """One question, asked three ways."""
    have_glosses()
    query = query_for("Internal Revenue Service")
    words = "treasury tax"

    def both(k: int = 5, weights: tuple[float, float] = (1, 1)) -> Hybrid[Gloss]:
        # One statement and one round trip. The language decides that "taxes" has the word "tax" in it.
        return hybrid(
            Gloss.embedding, query.embedding, Gloss.text, words, k, language="english", weights=weights, ef_search=100
        )

    show(f"the words `{words}` alone", both(k=3, weights=(0, 1)))
    show(f"the vector of `{query.text}` alone", both(k=3, weights=(1, 0)))
    show("both", both())
    # A condition holds for both halves, before they are ranked.
    show("both, among people", both(k=3).where(Gloss.category == "noun.person"))


def show(title: str, glosses: Hybrid[Gloss]) -> None:
    """Rows with their places by vector and by words; a half that did not find a row has none for it."""
    print(f"\n{title}\n  vector words")
    for gloss in glosses:
        text = textwrap.shorten(f"{gloss.lemma}: {gloss.text}", 85, placeholder="…")
        print(f"  {gloss.vector_rank or '-':>6} {gloss.text_rank or '-':>5}  {text}")


if __name__ == "__main__":
    with database.connection_context():
        main()
