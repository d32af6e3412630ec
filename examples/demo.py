"""``make demo``: a schema from a model, 2,000 real embeddings, and what the index finds among them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

from examples.models import Gloss, database
from examples.wordnet import DATA, Query, read_queries
from lightvec.peewee import Nearest

SHOWN = (3, 16, 30)
WIDTH = 100


def main() -> None:
    """Run the demonstration."""
    command("init-db", "examples.models")
    Gloss.truncate_table()
    command("load", "gloss", f"{DATA}/glosses.jsonl.gz", "--vectors", f"{DATA}/base.f16.npy")
    queries = list(read_queries())
    for number in SHOWN:
        show(queries[number])
    summary(queries)
    database.close()
    command("server", "stop")


def command(*words: str) -> None:
    """Show a command and run it."""
    shown = " ".join(word.replace(f"{DATA}/", "…/") for word in words)
    print(f"\n$ lightvec {shown}", flush=True)
    subprocess.run([sys.executable, "-m", "lightvec", *words], check=True)


def show(query: Query) -> None:
    """A query and the nearest definitions, as a table."""
    print(f"\n{bold('nearest to')} {query.text}")
    print(f"{'─' * 7}┬{'─' * 26}┬{'─' * (WIDTH - 35)}")
    for gloss in Gloss.embedding.nearest(query.embedding, k=5):
        lemma = textwrap.shorten(gloss.lemma, 24, placeholder="…")
        text = textwrap.shorten(gloss.text, WIDTH - 37, placeholder="…")
        print(f" {bar(gloss.score)} │ {lemma:<24} │ {text}")


def summary(queries: list[Query]) -> None:
    """How many of the true ten nearest the index finds, and how long a search takes."""
    began = time.perf_counter()
    found = [[gloss.id for gloss in nearest(query)] for query in queries]
    took = (time.perf_counter() - began) / len(queries)
    hits = sum(len(set(ids) & set(query.truth[:10])) for ids, query in zip(found, queries, strict=True))
    recall = hits / len(queries) / 10
    print(f"\n{len(queries)} searches, {took * 1000:.1f} ms each; recall of the ten nearest: {recall:.3f}")


def nearest(query: Query) -> Nearest[Gloss]:
    """The ids of the ten nearest."""
    return Gloss.embedding.nearest(query.embedding, k=10).select(Gloss.id)


def bar(score: float) -> str:
    """A score as a number whose brightness follows it."""
    return f"{score:.3f}" if not sys.stdout.isatty() else f"\033[38;5;{232 + round(23 * score)}m{score:.3f}\033[0m"


def bold(text: str) -> str:
    """Bold on a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    main()
