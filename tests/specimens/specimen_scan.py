"""The marks a scanner leaves on what it sees: tilt, noise, dust, ragged type.

Chance always comes from a ``random.Random`` that the caller has seeded, so the
same call gives the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from tests.specimens.specimen_sheet import Color


def noise(size: tuple[int, int], rng: Random, sigma: float) -> Image.Image:
    """Return near-Gaussian noise around mid-grey."""
    count = size[0] * size[1]
    pair = [
        Image.blend(
            Image.frombytes("L", size, rng.randbytes(count)),
            Image.frombytes("L", size, rng.randbytes(count)),
            0.5,
        )
        for _ in range(2)
    ]
    flat = Image.blend(pair[0], pair[1], 0.5)
    table = [max(0, min(255, round(128 + (v - 127.5) * sigma / 37))) for v in range(256)]
    return flat.point(table)


def mottle(size: tuple[int, int], rng: Random, sigma: float, grain: int) -> Image.Image:
    """Return soft blotches of about ``grain`` pixels around mid-grey."""
    small = (max(2, size[0] // grain), max(2, size[1] // grain))
    return noise(small, rng, sigma).resize(size, Image.Resampling.BICUBIC)


def add_grey(image: Image.Image, grey: Image.Image) -> Image.Image:
    """Add a picture around mid-grey to every band of an image."""
    bands = [ImageChops.add(band, grey, 1, -128) for band in image.split()]
    return Image.merge(image.mode, bands)


def ramp(size: tuple[int, int], level: Callable[[float], float]) -> Image.Image:
    """Return a grey picture whose columns follow ``level`` of 0..1, left to right."""
    wide = size[0]
    row = bytes(max(0, min(255, round(level(x / wide)))) for x in range(wide))
    return Image.frombytes("L", (wide, 1), row).resize(size)


def grain(image: Image.Image, rng: Random, sigma: float, streak: float = 1.0) -> Image.Image:
    """Add sensor noise to each band and the faint columns a line sensor leaves."""
    bands = []
    for band in image.split():
        soft = noise(image.size, rng, sigma * 1.5).filter(ImageFilter.GaussianBlur(0.5))
        bands.append(ImageChops.add(band, soft, 1, -128))
    columns = noise((image.width, 1), rng, streak).resize(image.size)
    return add_grey(Image.merge(image.mode, bands), columns)


def dust(image: Image.Image, rng: Random, count: int, ink: int, largest: int = 3) -> None:
    """Drop specks, and now and then a fibre, on the glass."""
    pen = ImageDraw.Draw(image)
    fill: int | Color = ink if image.mode in ("L", "1") else (ink, ink, ink)
    for number in range(count):
        x, y = rng.randrange(image.width), rng.randrange(image.height)
        if number % 45 == 44:
            turn, bow = rng.uniform(0, 6.28), rng.uniform(-0.35, 0.35)
            bend = [(float(x), float(y))]
            for _ in range(rng.randint(7, 14)):
                turn += bow
                x0, y0 = bend[-1]
                bend.append((x0 + 3 * math.cos(turn), y0 + 3 * math.sin(turn)))
            pen.line(bend, fill=fill, width=1)
        else:
            size = rng.choice([0, 0, 0, 1, 1, largest - 1])
            pen.ellipse([x, y, x + size, y + rng.randint(0, size + 1)], fill=fill)


def lay_on_glass(
    card: Image.Image,
    outline: Image.Image,
    bed: tuple[int, int],
    rng: Random,
    lid: Color = (236, 237, 234),
) -> Image.Image:
    """Put a card, not quite straight, on a scanner's glass under its lid."""
    glass = Image.new("RGB", bed, lid)
    glass = add_grey(glass, mottle(bed, rng, 2, 90))
    shear = rng.uniform(-0.004, 0.004)
    lean = (1, shear, -shear * card.height / 2, 0, 1, 0)
    angle = rng.choice([-1, 1]) * rng.uniform(0.5, 1.5)
    pieces = [
        piece.transform(piece.size, Image.Transform.AFFINE, lean, Image.Resampling.BICUBIC).rotate(
            angle, Image.Resampling.BICUBIC, expand=True
        )
        for piece in (card, outline)
    ]
    turned, mask = pieces
    left = (bed[0] - turned.width) // 2 + rng.randint(-12, 12)
    top = (bed[1] - turned.height) // 2 + rng.randint(-10, 10)
    for shift, soft, depth in ((9, 9, 0.42), (3, 3, 0.45)):
        shadow = Image.new("L", bed, 0)
        shadow.paste(mask, (left + shift, top + shift))
        shadow = shadow.filter(ImageFilter.GaussianBlur(soft))
        fade = [round(v * depth) for v in range(256)]
        glass.paste((96, 96, 102), (0, 0, *bed), shadow.point(fade))
    glass.paste(turned, (left, top), mask)
    return glass


def scan_colour(image: Image.Image, rng: Random, sigma: float) -> Image.Image:
    """Give a colour picture the softness, fringes and noise of a flatbed scan."""
    soft = image.filter(ImageFilter.GaussianBlur(0.7))
    red, green, blue = soft.split()
    shift = (1, 0, rng.uniform(0.25, 0.6), 0, 1, rng.uniform(-0.3, 0.3))
    red = red.transform(red.size, Image.Transform.AFFINE, shift, Image.Resampling.BILINEAR)
    back = (1, 0, -shift[2], 0, 1, -shift[5])
    blue = blue.transform(blue.size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    soft = Image.merge("RGB", (red, green, blue))
    fall = rng.uniform(4, 9)
    soft = add_grey(soft, ramp(soft.size, lambda x: 128 - fall * (x - 0.45) ** 2 * 4))
    soft = grain(soft, rng, sigma)
    dust(soft, rng, 46, 150, 2)
    return soft.crop((3, 3, soft.width - 3, soft.height - 3))


def tilt(page: Image.Image, rng: Random, most: float) -> Image.Image:
    """Turn a fed page a little, leaving the dark sliver a feeder leaves at an edge."""
    angle = rng.choice([-1, 1]) * rng.uniform(most / 3, most)
    shift = (rng.randint(-9, 9), rng.randint(-9, 9))
    return page.rotate(angle, Image.Resampling.BICUBIC, translate=shift, fillcolor=70 if page.mode == "L" else None)


def scan_grey(page: Image.Image, rng: Random, sigma: float, most: float = 0.8) -> Image.Image:
    """Scan a page in greys: off-white paper, soft type, a shaded edge."""
    grey = page.convert("L").point([round(38 + v * 200 / 255) for v in range(256)])
    grey = add_grey(grey, mottle(grey.size, rng, 1.5, 40))
    grey = tilt(grey, rng, most).filter(ImageFilter.GaussianBlur(0.55))
    grey = add_grey(grey, ramp(grey.size, lambda x: 128 - 46 * math.exp(-x * 55) - 5 * x))
    dust(grey, rng, 46, 130, 2)
    return grain(grey, rng, sigma, 0.8)


def scan_bilevel(page: Image.Image, rng: Random, most: float = 0.7) -> Image.Image:
    """Scan a page in pure black and white: ragged type, pepper, a black sliver."""
    grey = tilt(page.convert("L"), rng, most).filter(ImageFilter.GaussianBlur(0.8))
    grey = add_grey(grey, mottle(grey.size, rng, 10, 3))
    cut = rng.randint(138, 158)
    black = grey.point([255 if v > cut else 0 for v in range(256)], "1")
    dust(black, rng, rng.randint(60, 130), 0, 3)
    return black
