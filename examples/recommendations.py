"""Recommendations from ratings: films and people as vectors whose inner product is the rating.

    python -m examples.recommendations

The factorisation is stochastic gradient descent in plain Python. What it learns from the ratings is all that the search
knows: neither the kinds of films nor what people like of them is told to it.

It prints::

    2,775 ratings of 36 films by 150 people; mean 3.1
    ratings that were held back: off by 0.8 stars

    person 1, who likes crime and science fiction
      4.4  Chinatown (crime)
      4.4  Laura (crime)
      4.2  Alien (science fiction)

    person 2, who likes science fiction and crime
      4.6  Alien (science fiction)
      4.5  Metropolis (science fiction)
      4.3  Gattaca (science fiction)

    person 3, who likes horror and science fiction
      4.6  Blade Runner (science fiction)
      4.2  The Shining (horror)
      4.1  Arrival (science fiction)

    like Solaris: Metropolis (science fiction), Arrival (science fiction), Alien (science fiction)
"""

from __future__ import annotations

import math
import os
import random

from peewee import AutoField, FloatField, ForeignKeyField, Model, TextField

from examples.ratings import FILMS, Stars, rate
from lightvec.peewee import Pg8000Database, VectorField

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))
FACTORS = 6


class Film(Model):
    """A film; its last number is how much better it is liked than others, by everybody."""

    score: float  # of a search: how much better than the mean it would be rated
    id = AutoField()
    title = TextField()
    kind = TextField()
    factors = VectorField(FACTORS + 1, metric="ip", index="hnsw")

    class Meta:
        database = database
        table_name = "example_film"


class Person(Model):
    """Somebody who rates; the last number is 1, so that the inner product adds the film's own."""

    id = AutoField()
    factors = VectorField(FACTORS + 1)

    class Meta:
        database = database
        table_name = "example_person"


class Rating(Model):
    """One to five stars."""

    person = ForeignKeyField(Person)
    film = ForeignKeyField(Film)
    stars = FloatField()

    class Meta:
        database = database
        table_name = "example_rating"


def main() -> None:
    """Learn from ratings, store what was learned, and recommend."""
    dice = random.Random(3)
    films = [(title, kind) for kind, titles in FILMS.items() for title in titles.split(", ")]
    ratings, tastes = rate(films, 150, dice)
    held_back, known = ratings[::10], [rating for place, rating in enumerate(ratings) if place % 10]
    mean = sum(rating.stars for rating in known) / len(known)
    people, items = factorise(known, mean, len(tastes), len(films), dice)
    errors = [rating.stars - mean - dot(people[rating.person], items[rating.film]) for rating in held_back]
    print(f"{len(ratings):,} ratings of {len(films)} films by {len(tastes)} people; mean {mean:.1f}")
    print(f"ratings that were held back: off by {math.sqrt(dot(errors, errors) / len(errors)):.1f} stars")

    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Film, Person, Rating])
    database.create_tables([Film, Person, Rating])
    rows = zip(films, items, strict=True)
    database.copy_rows(Film, ({"title": title, "kind": kind, "factors": item} for (title, kind), item in rows))
    database.copy_rows(Person, ({"factors": person} for person in people))
    database.copy_rows(
        Rating, ((each.person + 1, each.film + 1, each.stars) for each in known), ["person", "film", "stars"]
    )

    for person in Person.select().where(Person.id.in_([1, 2, 3])).order_by(Person.id):
        seen = Rating.select(Rating.film).where(Rating.person == person)
        unseen = Film.factors.nearest(person.factors, k=3).where(Film.id.not_in(seen))
        print(f"\nperson {person.id}, who likes {' and '.join(tastes[person.id - 1])}")
        for film in unseen:
            print(f"  {mean + film.score:.1f}  {film.title} ({film.kind})")
    # The angle alone: what is liked by the same people, however much.
    like = Film.factors.nearest(Film.get(Film.title == "Solaris"), k=3, metric="cosine")
    print("\nlike Solaris:", ", ".join(f"{film.title} ({film.kind})" for film in like))


def factorise(
    ratings: list[Stars], mean: float, people: int, films: int, dice: random.Random
) -> tuple[list[list[float]], list[list[float]]]:
    """The vectors of people and films: each rating pulls its two a little towards it, forty times over."""
    p = [[dice.gauss(0, 0.2) for _ in range(FACTORS)] + [1.0] for _ in range(people)]
    q = [[dice.gauss(0, 0.2) for _ in range(FACTORS)] + [0.0] for _ in range(films)]
    for _ in range(40):
        for person, film, stars in ratings:
            one, other = p[person], q[film]
            error = stars - mean - dot(one, other)
            for f in range(FACTORS):
                one[f], other[f] = (
                    one[f] + 0.03 * (error * other[f] - 0.05 * one[f]),
                    other[f] + 0.03 * (error * one[f] - 0.05 * other[f]),
                )
            other[FACTORS] += 0.03 * (error - 0.05 * other[FACTORS])
    return p, q


def dot(one: list[float], other: list[float]) -> float:
    """The inner product."""
    return sum(a * b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    with database.connection_context():
        main()
