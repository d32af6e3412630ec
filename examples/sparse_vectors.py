"""Sparse vectors: tf-idf built here, a dimension a word, of which a text has a few dozen of thousands.

    python -m examples.sparse_vectors

It prints::

    6,200 words, of which `contrast` has 4: distinguishing 0.56, comparing 0.56, difference 0.51

    a shore bird with long legs: shore 0.55, bird 0.51, leg 0.50
      0.350  roller, roll, rolling wave: a long heavy sea wave as it advances towards the…
      0.312  genus Archaeornis: a genus of fossil bird
      0.267  littoral, litoral, littoral zone, sands: the region of the shore of a lake or…

    musical instrument with strings: string 0.65, musical 0.54, instrument 0.54
      0.369  musical instrument digital interface, MIDI: a standard protocol for…
      0.315  stringer: a worker who strings; "a stringer of beads"
      0.290  drum: play a percussion instrument

    a disease of plants: disease 0.78, plant 0.63
      0.654  tomato blight, tomato yellows: a disease of tomato plants
      0.499  ergot: a plant disease caused by the ergot fungus
      0.434  stripe blight: a disease of oats
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from textwrap import shorten

from peewee import Model, TextField

from examples.wordnet import read_glosses
from lightvec import SparseVector
from lightvec.peewee import HnswIndex, Pg8000Database, SparseVectorField

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))
#: More words than the definitions have. A dimension that nobody uses costs nothing.
DIMENSIONS = 10_000


class Definition(Model):
    """A definition and the weights of its words, scaled to length 1: then the inner product is the cosine."""

    score: float  # of a search
    lemma = TextField()
    text = TextField()
    words = SparseVectorField(DIMENSIONS, metric="ip")

    class Meta:
        database = database
        table_name = "example_definition"


class TfIdf:
    """The weight of a word: how often a text has it, times how few texts have it."""

    def __init__(self, texts: list[str]) -> None:
        counts = Counter(word for text in texts for word in dict.fromkeys(self.words(text)))
        # What one text in twenty has, such as "of", says nothing.
        self.rarity = {word: math.log(len(texts) / count) for word, count in counts.items() if count < len(texts) / 20}
        self.dimension = {word: number for number, word in enumerate(self.rarity)}

    @staticmethod
    def words(text: str) -> list[str]:
        """The words of a text, without the plural's s."""
        return [word.removesuffix("s") for word in re.findall(r"[a-z]{2,}", text.lower())]

    def vector(self, text: str) -> SparseVector:
        """The weights of the words that are known."""
        counts = Counter(word for word in self.words(text) if word in self.dimension)
        weights = {self.dimension[word]: (1 + math.log(count)) * self.rarity[word] for word, count in counts.items()}
        return SparseVector(weights, DIMENSIONS).normalized()


def main() -> None:
    """Weigh the words of 2,000 definitions, and search them by a few."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Definition])
    database.create_tables([Definition])
    rows = list(read_glosses())
    tf_idf = TfIdf([row["text"] for row in rows])
    database.copy_rows(
        Definition, ({"lemma": row["lemma"], "text": row["text"], "words": tf_idf.vector(row["text"])} for row in rows)
    )
    # After the load, which is quicker.
    Definition.add_index(HnswIndex(Definition.words))
    Definition.create_table()

    stored = Definition.get(Definition.lemma == "contrast").words
    print(
        f"{len(tf_idf.dimension):,} words, of which `contrast` has {len(stored.indices())}: {heaviest(stored, tf_idf)}"
    )
    for question in ("a shore bird with long legs", "musical instrument with strings", "a disease of plants"):
        vector = tf_idf.vector(question)
        print(f"\n{question}: {heaviest(vector, tf_idf)}")
        for found in Definition.words.nearest(vector, k=3, ef_search=200):
            print(f"  {found.score:.3f}  {shorten(f'{found.lemma}: {found.text}', 80, placeholder='…')}")


def heaviest(vector: SparseVector, tf_idf: TfIdf) -> str:
    """The three words that say most."""
    words = {dimension: word for word, dimension in tf_idf.dimension.items()}
    weights = sorted(zip(vector.values(), map(words.__getitem__, vector.indices()), strict=True), reverse=True)
    return ", ".join(f"{word} {weight:.2f}" for weight, word in weights[:3])


if __name__ == "__main__":
    with database.connection_context():
        main()
