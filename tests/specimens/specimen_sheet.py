"""Drawing in millimetres on a sheet of paper or a card.

Everything is drawn with Pillow and the one scalable font that comes with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BLACK: Color = (28, 27, 30)
PEN: Color = (24, 34, 110)
SHADE: Color = (222, 222, 222)
WHITE: Color = (255, 255, 255)

LETTER = (215.9, 279.4)
A4 = (210.0, 297.0)


@cache
def font(size: float) -> Font:
    """Return Pillow's own font at a size in pixels."""
    return ImageFont.load_default(size=size)


class Sheet:
    """A page or card measured in millimetres, drawn larger than it is kept."""

    def __init__(
        self,
        width: float,
        height: float,
        dpi: int,
        paper: Color = WHITE,
        oversample: int = 1,
    ) -> None:
        """Lay out an empty sheet of the given size in millimetres."""
        self.width = width
        self.height = height
        self.dpi = dpi
        self.oversample = oversample
        self.image = Image.new("RGB", (self.px(width), self.px(height)), paper)
        self.pen = ImageDraw.Draw(self.image)

    def px(self, mm: float) -> int:
        """Turn millimetres into drawing pixels."""
        return round(mm * self.dpi * self.oversample / 25.4)

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Turn a point in millimetres into drawing pixels."""
        return self.px(x), self.px(y)

    def font(self, points: float) -> Font:
        """Return the font at a size in typographic points."""
        return font(points * self.dpi * self.oversample / 72)

    def paint(self, mask: Image.Image, ink: Color | Image.Image) -> None:
        """Lay ink over the whole sheet through a mask of the same size."""
        self.image.paste(ink, (0, 0, *self.image.size), mask)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        points: float,
        *,
        ink: Color = BLACK,
        bold: float = 0.0,
        anchor: str = "ls",
    ) -> None:
        """Write one line; ``bold`` is an extra stroke, in hundredths of the size."""
        stroke = points * self.dpi * self.oversample / 72 * bold / 100
        self.pen.text(
            self.at(x, y),
            words,
            fill=ink,
            font=self.font(points),
            anchor=anchor,
            stroke_width=stroke,
            stroke_fill=ink,
        )

    def cells(self, x: float, y: float, words: str, points: float, pitch: float, *, ink: Color = BLACK) -> None:
        """Write one line with every character in a cell of the same width."""
        for place, letter in enumerate(words):
            middle = x + (place + 0.5) * pitch
            if letter == "<":
                reach, rise = pitch * 0.34, points * 0.12
                arms = [(middle + reach, y - 2 * rise), (middle - reach, y - rise)]
                arms.append((middle + reach, y))
                spots = [self.at(*arm) for arm in arms]
                self.pen.line(spots, fill=ink, width=self.px(0.28), joint="curve")
            elif letter == "I":
                self.text(middle, y, letter, points, ink=ink, bold=1.6, anchor="ms")
                for edge in (y - 0.12, y - points * 0.246):
                    self.rule(middle - pitch * 0.24, edge, middle + pitch * 0.24, ink, 0.26)
            else:
                self.text(middle, y, letter, points, ink=ink, bold=1.6, anchor="ms")

    def rule(self, x: float, y: float, x2: float, ink: Color = BLACK, weight: float = 0.2) -> None:
        """Draw a horizontal rule."""
        self.pen.line([self.at(x, y), self.at(x2, y)], fill=ink, width=max(1, self.px(weight)))

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        *,
        fill: Color | None = None,
        edge: Color | None = BLACK,
        weight: float = 0.2,
    ) -> None:
        """Draw a rectangle."""
        corners = [self.at(x, y), self.at(x + w, y + h)]
        self.pen.rectangle(corners, fill=fill, outline=edge, width=max(1, self.px(weight)))

    def wrap(self, words: str, points: float, width: float) -> list[str]:
        """Break a paragraph into lines that fit a width in millimetres."""
        face, room = self.font(points), self.px(width)
        lines: list[str] = []
        line = ""
        for word in words.split():
            longer = f"{line} {word}" if line else word
            if line and face.getlength(longer) > room:
                lines.append(line)
                line = word
            else:
                line = longer
        return [*lines, line]

    def justified(self, x: float, y: float, words: str, points: float, width: float) -> None:
        """Write one line stretched to a width, as a word processor would."""
        face = self.font(points)
        parts = words.split()
        spare = self.px(width) - sum(face.getlength(part) for part in parts)
        gap = spare / max(1, len(parts) - 1)
        left, base = float(self.px(x)), self.px(y)
        for part in parts:
            self.pen.text((left, base), part, fill=BLACK, font=face, anchor="ls")
            left += face.getlength(part) + gap

    def finished(self) -> Image.Image:
        """Return the sheet at the resolution it is kept at."""
        if self.oversample == 1:
            return self.image
        size = (self.image.width // self.oversample, self.image.height // self.oversample)
        return self.image.resize(size, Image.Resampling.LANCZOS)


def signature(sheet: Sheet, rng: Random, x: float, y: float, width: float, *, ink: Color = PEN) -> None:
    """Scribble something that could be a signature, from x along the line y."""
    strokes = rng.randint(4, 8)
    tall, slant, thick = width * 0.15, rng.uniform(0.05, 0.55), min(1.0, width / 22)
    bumps = [rng.choice([0.22, 0.3, 0.45, 0.9]) * rng.uniform(0.8, 1.2) for _ in range(strokes)]
    bumps[0], bumps[rng.randint(2, strokes - 1)] = rng.uniform(1.2, 1.9), rng.uniform(0.7, 1.4)
    loops = [rng.uniform(0.0, 0.38) * width / strokes for _ in range(strokes)]
    sink, steps = rng.uniform(-0.1, 0.25) * tall, 90
    for number in range(strokes * steps):
        t = number / steps
        turn, now = 2 * math.pi * t, int(t)
        part, after = t - now, min(now + 1, strokes - 1)
        high = bumps[now] * (1 - part) + bumps[after] * part
        loop = loops[now] * (1 - part) + loops[after] * part
        rise = tall * high * (0.5 - 0.5 * math.cos(turn)) - sink * math.sin(turn / 2.7)
        along = width * 0.82 * t / strokes + loop * math.sin(turn)
        dot = sheet.px(thick * (0.16 + 0.09 * math.sin(turn + 0.8)))
        cx, cy = sheet.at(x + along + slant * rise, y - rise)
        sheet.pen.ellipse([cx - dot, cy - dot, cx + dot, cy + dot], fill=ink)
    if rng.random() < 0.4:
        under = [(x + width * 0.8, y - 0.5), (x + width * 0.1, y + tall * 0.25)]
        under.append((x + width * rng.uniform(0.7, 1.0), y + tall * 0.12))
        spots = [sheet.at(*spot) for spot in under]
        sheet.pen.line(spots, fill=ink, width=max(1, sheet.px(0.25)), joint="curve")
        return
    start, end = sheet.at(x + width * 0.84, y), sheet.at(x + width, y - tall * 0.35)
    sheet.pen.line([start, end], fill=ink, width=max(2, sheet.px(0.3)))


def specimen(sheet: Sheet, ink: Color, strength: float, *, hatched: bool = False) -> None:
    """Write SPECIMEN across the sheet, corner to corner.

    ``hatched`` fills the letters with thin lines in place of a tint, for pages
    that will be kept in pure black and white.
    """
    wide, high = sheet.image.size
    angle = math.degrees(math.atan2(high, wide)) * 0.92
    length = math.hypot(wide, high) * 0.77
    face = font(100)
    points = 100 * length / face.getlength("SPECIMEN")
    face = font(points)
    mask = Image.new("L", (round(length * 1.05), round(points * 1.2)), 0)
    middle = (mask.width / 2, mask.height / 2)
    pen = ImageDraw.Draw(mask)
    pen.text(middle, "SPECIMEN", fill=255, font=face, anchor="mm", stroke_width=points / 60)
    if hatched:
        inner = mask.filter(ImageFilter.MinFilter(2 * (sheet.px(0.35) // 2) + 3))
        lines = Image.new("L", mask.size, 0)
        hatch = ImageDraw.Draw(lines)
        for x in range(0, mask.width, sheet.px(2.1)):
            hatch.line([(x, 0), (x, mask.height)], fill=255, width=max(1, sheet.px(0.16)))
        mask = ImageChops.lighter(ImageChops.subtract(mask, inner), ImageChops.multiply(mask, lines))
    turned = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    full = Image.new("L", sheet.image.size, 0)
    full.paste(turned, ((wide - turned.width) // 2, (high - turned.height) // 2))
    sheet.paint(full.point([round(v * strength) for v in range(256)]), ink)


def holes(sheet: Sheet, heights: Sequence[float], x: float = 8.0) -> None:
    """Show punched holes as the dark discs a feeder scanner sees through them."""
    for y in heights:
        corners = [sheet.at(x - 3, y - 3), sheet.at(x + 3, y + 3)]
        sheet.pen.ellipse(corners, fill=(52, 52, 54))


def paragraph(sheet: Sheet, x: float, y: float, words: str, points: float, *, width: float) -> float:
    """Set a justified paragraph and return where the next one may begin."""
    lines = sheet.wrap(words, points, width)
    step = points * 0.49
    for line in lines[:-1]:
        sheet.justified(x, y, line, points, width)
        y += step
    sheet.text(x, y, lines[-1], points)
    return y + step


def signed(sheet: Sheet, rng: Random, x: float, y: float, name: str, *, date: str) -> None:
    """Draw a signature line with a signature on it and the printed name under it."""
    sheet.rule(x, y, x + 72)
    signature(sheet, rng, x + 5, y - 1, 48, ink=(30, 36, 96))
    sheet.text(x, y + 4.5, name, 9)
    sheet.text(x + 72, y - 1, date, 9, ink=(40, 44, 96), anchor="rs")


def fold(sheet: Sheet, y: float) -> None:
    """Crease a page across at a height."""
    mask = Image.new("L", sheet.image.size, 0)
    top = sheet.px(y)
    ImageDraw.Draw(mask).line([(0, top), (mask.width, top + 5)], fill=105, width=sheet.px(0.5))
    sheet.paint(mask.filter(ImageFilter.GaussianBlur(sheet.px(0.35))), (90, 90, 90))


def barcode(sheet: Sheet, rng: Random, x: float, y: float, *, w: float, h: float) -> None:
    """Draw bars that look like a barcode and say nothing."""
    right = x + w
    while x < right:
        bar = rng.choice((0.34, 0.34, 0.68, 1.02))
        sheet.box(x, y, bar, h, fill=BLACK, edge=None)
        x += bar + rng.choice((0.34, 0.34, 0.68))
