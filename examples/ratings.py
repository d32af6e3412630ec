"""Ratings of films, made up: each person likes two kinds of film, some films are better, and nobody is consistent."""

from __future__ import annotations

import random
from typing import NamedTuple

FILMS = {
    "western": "Stagecoach, High Noon, Shane, The Searchers, Rio Bravo, Unforgiven",
    "science fiction": "Metropolis, Solaris, Alien, Blade Runner, Gattaca, Arrival",
    "musical": "Top Hat, Singin' in the Rain, Gigi, West Side Story, Cabaret, Chicago",
    "horror": "Nosferatu, Psycho, Suspiria, Halloween, The Shining, The Others",
    "comedy": "The General, Duck Soup, Some Like It Hot, Playtime, Airplane!, Fargo",
    "crime": "M, Laura, Rififi, Chinatown, The Sting, Heat",
}


class Stars(NamedTuple):
    """A rating: a person, a film and the stars."""

    person: int
    film: int
    stars: float


def rate(films: list[tuple[str, str]], people: int, dice: random.Random) -> tuple[list[Stars], list[list[str]]]:
    """Ratings of about half of the films by each person, and which kinds each likes."""
    tastes = [dice.sample(sorted(FILMS), 2) for _ in range(people)]
    quality = [dice.gauss(0, 0.4) for _ in films]
    ratings = []
    for person, taste in enumerate(tastes):
        for film, (_, kind) in enumerate(films):
            if dice.random() < 0.5:
                stars = 2.6 + 1.7 * (kind in taste) + quality[film] + dice.gauss(0, 0.5)
                ratings.append(Stars(person, film, min(5, max(1, round(stars)))))
    dice.shuffle(ratings)
    return ratings, tastes
