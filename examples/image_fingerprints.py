"""Image fingerprints: 64 bits a picture, found again by Hamming distance after it was blurred, darkened or cropped.

    python -m examples.image_fingerprints

It prints::

    150 pictures of 54 by 54 pixels, a fingerprint of 8 bytes each
    blurred  150 found,  1.3 bits away; the next one 17.6
    darkened 150 found,  0.1 bits away; the next one 17.4
    noisy    150 found,  4.0 bits away; the next one 17.8
    cropped  150 found,  6.1 bits away; the next one 17.4
    the same picture twice: 007.pgm and copy of 007.pgm
"""

from __future__ import annotations

import os
import random
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from peewee import Model, TextField

from examples.pictures import SIZE, Image, blurred, cropped, darkened, draw, noisy, read, write
from lightvec import Bit
from lightvec.peewee import FixedBitField, Pg8000Database

database = Pg8000Database(os.environ.get("DATABASE_URL", "embedded:.lightvec"))


class Picture(Model):
    """A picture's file and its fingerprint."""

    distance: float  # of a search
    file = TextField(unique=True)
    fingerprint = FixedBitField(64, metric="hamming", index="hnsw")

    class Meta:
        database = database
        table_name = "example_picture"


def main() -> None:
    """Draw 150 pictures, store their fingerprints, and look for distorted copies."""
    database.execute_sql("CREATE EXTENSION IF NOT EXISTS vector")
    database.drop_tables([Picture])
    database.create_tables([Picture])
    dice = random.Random(5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(150):
            write(folder / f"{number:03}.pgm", draw(dice))
        files = sorted(folder.iterdir())
        database.copy_rows(Picture, ({"file": file.name, "fingerprint": fingerprint(read(file))} for file in files))
        print(f"{Picture.select().count()} pictures of {SIZE} by {SIZE} pixels, a fingerprint of 8 bytes each")

        for distort in (blurred, darkened, noisy, cropped):
            searches = {file.name: Picture.fingerprint.nearest(fingerprint(distort(read(file))), k=2) for file in files}
            found = [search[0] for name, search in searches.items() if search[0].file == name]
            away = sum(picture.distance for picture in found) / len(found)
            next_best = sum(search[1].distance for search in searches.values()) / len(searches)
            print(f"{distort.__name__:<8} {len(found)} found, {away:4.1f} bits away; the next one {next_best:.1f}")

        # Pictures that are in the table twice: a few bits apart.
        database.copy_rows(Picture, [{"file": "copy of 007.pgm", "fingerprint": fingerprint(blurred(read(files[7])))}])
    other = Picture.alias()
    pairs: Any = (
        Picture.select(Picture.file, other.file.alias("twin"))
        .join(other, on=(Picture.file < other.file))
        .where(Picture.fingerprint.hamming_distance(other.fingerprint) <= 8)
    )
    for pair in pairs.dicts():
        print(f"the same picture twice: {pair['file']} and {pair['twin']}")


def fingerprint(image: Image) -> Bit:
    """A difference hash: of 9 by 8 fields, whether each is brighter than the one to its right."""
    fields = [[mean(image, row, column) for column in range(9)] for row in range(8)]
    return Bit([left > right for row in fields for left, right in pairwise(row)])


def mean(image: Image, row: int, column: int) -> float:
    """The mean brightness of one of 9 by 8 fields."""
    height, width = len(image), len(image[0])
    lines = image[row * height // 8 : (row + 1) * height // 8]
    pixels = [pixel for line in lines for pixel in line[column * width // 9 : (column + 1) * width // 9]]
    return sum(pixels) / len(pixels)


if __name__ == "__main__":
    with database.connection_context():
        main()
