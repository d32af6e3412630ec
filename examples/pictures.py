"""Pictures to try fingerprints on: drawn, distorted, and read from and written to files, with nothing but Python."""

from __future__ import annotations

import random
from pathlib import Path

SIZE = 54
#: A picture as rows of brightness, 0 to 255.
Image = list[list[int]]


def draw(dice: random.Random) -> Image:
    """A background that brightens to one side, and discs and bars on it."""
    slope = dice.choice([-2, -1, 1, 2])
    image = [[128 + slope * (x - SIZE // 2) for x in range(SIZE)] for _ in range(SIZE)]
    for _ in range(dice.randint(12, 18)):
        left, top, size, shade = dice.randrange(SIZE), dice.randrange(SIZE), dice.randint(6, 20), dice.randrange(256)
        is_disc = dice.random() < 0.5
        for y in range(max(0, top - size), min(SIZE, top + size)):
            for x in range(max(0, left - size // 2), min(SIZE, left + size // 2)):
                if not is_disc or (x - left) ** 2 + (y - top) ** 2 < size**2 / 4:
                    image[y][x] = shade
    return image


def write(file: Path, image: Image) -> None:
    """A file in the portable grey map format, which every viewer shows: a header and a byte a pixel."""
    file.write_bytes(b"P5 %d %d 255\n" % (len(image[0]), len(image)) + bytes(pixel for line in image for pixel in line))


def read(file: Path) -> Image:
    """The rows of such a file."""
    header, _, pixels = file.read_bytes().partition(b"\n")
    width, height = (int(number) for number in header.split()[1:3])
    return [list(pixels[y * width : (y + 1) * width]) for y in range(height)]


def blurred(image: Image) -> Image:
    """Each pixel the mean of those around it."""
    return [
        [sum(line[max(0, x - 1) : x + 2]) // len(line[max(0, x - 1) : x + 2]) for x in range(SIZE)] for line in image
    ]


def darkened(image: Image) -> Image:
    """Half as bright."""
    return [[pixel // 2 for pixel in line] for line in image]


def noisy(image: Image) -> Image:
    """Each pixel up to 15 off."""
    dice = random.Random(1)
    return [[min(255, max(0, pixel + dice.randint(-15, 15))) for pixel in line] for line in image]


def cropped(image: Image) -> Image:
    """Without a margin of two pixels."""
    return [line[2:-2] for line in image[2:-2]]
