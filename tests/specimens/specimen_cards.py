"""Passport pages and identity cards of countries and people that do not exist."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from tests.specimens.specimen_scan import add_grey, lay_on_glass, mottle, noise, scan_colour
from tests.specimens.specimen_sheet import BLACK, Color, Sheet, signature, specimen

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
STATE = "UTO"


@dataclass(frozen=True)
class Person:
    """An invented person; dates are written YYMMDD as a passport codes them."""

    surname: str
    given: str
    sex: str
    born: str
    place: str
    number: str
    issued: str
    expires: str
    personal: str
    skin: Color
    hair: Color
    coat: Color
    long_hair: bool


@dataclass(frozen=True)
class Look:
    """The inks of one printed document: paper, two line inks and the title."""

    paper: Color
    first: Color
    second: Color
    title: Color


def check_digit(field: str) -> str:
    """Return the ICAO 9303 check digit of a field of a machine readable zone."""
    total = 0
    for place, letter in enumerate(field):
        if letter == "<":
            value = 0
        elif letter.isdigit():
            value = int(letter)
        else:
            value = ord(letter) - ord("A") + 10
        total += value * (7, 3, 1)[place % 3]
    return str(total % 10)


def passport_mrz(who: Person) -> tuple[str, str]:
    """Return the two 44-character lines at the foot of a passport page."""
    given = who.given.upper().replace(" ", "<").replace("-", "<")
    surname = who.surname.upper().replace(" ", "<").replace("-", "<")
    first = f"P<{STATE}{surname}<<{given}".ljust(44, "<")[:44]
    number = who.number.ljust(9, "<")
    personal = who.personal.ljust(14, "<")
    number += check_digit(number)
    born = who.born + check_digit(who.born)
    expires = who.expires + check_digit(who.expires)
    personal += check_digit(personal)
    whole = check_digit(number + born + expires + personal)
    return first, f"{number}{STATE}{born}{who.sex}{expires}{personal}{whole}"


def written(date: str, *, born: bool = False) -> str:
    """Write a YYMMDD date out, taking births after '30 to be in the last century."""
    century = "19" if born and int(date[:2]) > 30 else "20"
    return f"{date[4:]} {MONTHS[int(date[2:4]) - 1]} {century}{date[:2]}"


def blend_across(size: tuple[int, int], first: Color, second: Color) -> Image.Image:
    """Return a field that changes from one ink to the other and back, as iris print does."""
    row = Image.new("RGB", (3, 1))
    for place, ink in enumerate((first, second, first)):
        row.putpixel((place, 0), ink)
    return row.resize(size, Image.Resampling.BICUBIC)


def guilloche(sheet: Sheet, rng: Random, look: Look) -> None:
    """Cover a sheet with the fine crossing curves of a security print."""
    wide, high = sheet.image.size
    inks = blend_across(sheet.image.size, look.first, look.second)
    mask = Image.new("L", sheet.image.size, 0)
    pen = ImageDraw.Draw(mask)
    beat, drift = rng.uniform(2.2, 3.6), rng.uniform(0, 6)
    step = sheet.px(1.0)
    for band in range(-4, high // step + 5):
        for phase in (0.0, math.pi * 0.66, math.pi * 1.33):
            curve = [
                (
                    x,
                    band * step
                    + step * 1.7 * math.sin(x / wide * 2 * math.pi * beat * 3 + phase + band * 0.11)
                    + step * 2.2 * math.sin(x / wide * 2 * math.pi * beat + drift),
                )
                for x in range(0, wide + 13, 12)
            ]
            pen.line(curve, fill=150, width=2, joint="curve")
    for cx, cy, reach, turns in ((0.70, 0.42, 0.36, 23), (0.20, 0.46, 0.30, 17)):
        for ring in range(7):
            size = high * reach * (0.55 + ring * 0.09)
            spots = []
            for number in range(1441):
                a = math.radians(number / 4)
                far = size * (1 + 0.16 * math.sin(turns * a + ring * 0.5))
                spots.append((wide * cx + far * math.cos(a) * 1.15, high * cy + far * math.sin(a)))
            pen.line(spots, fill=185, width=2, joint="curve")
    sheet.paint(mask, inks)


def portrait(who: Person, size: tuple[int, int], rng: Random) -> Image.Image:
    """Draw a plain head and shoulders: a figure, nobody's face."""
    k = 10
    picture = blend_across((100 * k, 128 * k), (206, 214, 220), (226, 231, 234))
    pen = ImageDraw.Draw(picture)
    shade = tuple(round(v * 0.80) for v in who.skin)
    dark = (shade[0], shade[1], shade[2])

    def oval(x: float, y: float, rx: float, ry: float, ink: Color) -> None:
        pen.ellipse([(x - rx) * k, (y - ry) * k, (x + rx) * k, (y + ry) * k], fill=ink)

    def shape(spots: list[tuple[float, float]], ink: Color) -> None:
        pen.polygon([(x * k, y * k) for x, y in spots], fill=ink)

    if who.long_hair:
        oval(50, 54, 29, 36, who.hair)
        shape([(22, 52), (78, 52), (82, 104), (18, 104)], who.hair)
    oval(50, 128, 46, 27, who.coat)
    shape([(40, 74), (60, 74), (65, 108), (50, 116), (35, 108)], dark)
    oval(50, 101, 13, 9, dark)
    oval(26.5, 58, 4, 7, dark)
    oval(73.5, 58, 4, 7, dark)
    oval(50, 38, 25.5, 24, who.hair)
    oval(50, 56, 22.5, 30, who.skin)
    fringe = [(27, 46), (28, 28), (50, 21), (72, 28), (73, 46), (66, 37), (50, 33), (35, 36)]
    shape([(float(x), float(y)) for x, y in fringe], who.hair)
    for side in (-1, 1):
        shape(
            [
                (50 + side * 5, 48.6),
                (50 + side * 15, 47.6),
                (50 + side * 15, 49.4),
                (50 + side * 5, 50.6),
            ],
            who.hair,
        )
        oval(50 + side * 9.5, 54.5, 4.2, 2.1, (238, 236, 232))
        oval(50 + side * 9.5, 54.5, 2.0, 2.0, (52, 40, 34))
        shape([(50 + side * 4, 96), (50 + side * 19, 102), (50 + side * 10, 118)], who.coat)
    shape([(48.5, 55), (51.5, 55), (54.5, 66), (45.5, 66)], dark)
    oval(50, 75, 7.5, 1.9, (160, 92, 88))
    oval(50, 73.6, 7.0, 1.2, who.skin)
    light = Image.new("L", picture.size, 0)
    ImageDraw.Draw(light).ellipse([52 * k, 24 * k, 100 * k, 128 * k], fill=70)
    light = light.filter(ImageFilter.GaussianBlur(13 * k))
    picture.paste((30, 26, 40), (0, 0, *picture.size), light)
    picture = picture.filter(ImageFilter.GaussianBlur(0.75 * k))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    picture = add_grey(picture, mottle(size, rng, 6, 7))
    return add_grey(picture, noise(size, rng, 5))


def place_portrait(
    sheet: Sheet, who: Person, rng: Random, x: float, y: float, *, w: float, ghost: bool = False
) -> None:
    """Print the portrait on a sheet, or its pale second printing."""
    size = (sheet.px(w), sheet.px(w * 1.28))
    face = portrait(who, size, rng)
    edge = Image.new("L", size, 0)
    inset = sheet.px(1.2 if not ghost else 2.5)
    box = [inset // 2, inset // 2, size[0] - inset // 2, size[1] - inset // 2]
    pen = ImageDraw.Draw(edge)
    if ghost:
        pen.ellipse(box, fill=135)
        face = face.convert("L").convert("RGB")
    else:
        pen.rounded_rectangle(box, radius=sheet.px(1), fill=246)
    edge = edge.filter(ImageFilter.GaussianBlur(inset * 0.14))
    sheet.image.paste(face, sheet.at(x, y), edge)


def hologram(sheet: Sheet, x: float, y: float, r: float) -> None:
    """Lay a pale foil rosette over a sheet."""
    mask = Image.new("L", sheet.image.size, 0)
    pen = ImageDraw.Draw(mask)
    cx, cy = sheet.at(x, y)
    for number in range(54):
        a = number / 54 * 2 * math.pi
        far = sheet.px(r)
        for lean in (0.7, -0.7):
            tip = (cx + far * math.cos(a + lean), cy + far * math.sin(a + lean))
            foot = (cx + far * 0.25 * math.cos(a), cy + far * 0.25 * math.sin(a))
            pen.line([foot, tip], fill=165, width=max(2, sheet.px(0.1)))
    far = sheet.px(r)
    pen.ellipse([cx - far, cy - far, cx + far, cy + far], outline=190, width=sheet.px(0.3))
    foil = blend_across(sheet.image.size, (120, 205, 180), (225, 170, 205))
    sheet.paint(mask, foil)


def field(sheet: Sheet, x: float, y: float, label: str, value: str, *, ink: Color) -> None:
    """Write a small label and the value under it."""
    sheet.text(x, y, label, 4.3, ink=ink)
    sheet.text(x, y + 3.6, value, 8.2, ink=BLACK, bold=1.4)


def rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """Return the outline of a sheet with round corners."""
    mask = Image.new("L", (size[0] * 2, size[1] * 2), 0)
    box = [4, 4, size[0] * 2 - 5, size[1] * 2 - 5]
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=radius * 2, fill=255)
    return mask.resize(size, Image.Resampling.LANCZOS)


def passport(who: Person, look: Look, rng: Random) -> Image.Image:
    """Draw and scan the data page of a Utopian passport."""
    sheet = Sheet(125, 88, 300, look.paper, oversample=2)
    guilloche(sheet, rng, look)
    sheet.text(8, 9.2, "UTOPIA", 13, ink=look.title, bold=3)
    sheet.text(44, 6.2, "PASSPORT", 6.5, ink=look.title, bold=2)
    sheet.text(44, 9.6, "LITTERAE COMMEATUS", 5, ink=look.title)
    for x, label, value in ((68, "Type / Genus", "P"), (80, "Code / Signum", STATE)):
        field(sheet, x, 5.2, label, value, ink=look.title)
    sheet.text(95, 5.2, "Passport No. / Numerus", 4.3, ink=look.title)
    sheet.text(95, 9.8, who.number, 10.5, ink=(150, 30, 36), bold=2)
    place_portrait(sheet, who, rng, 7, 14, w=35)
    place_portrait(sheet, who, rng, 99, 35, w=17, ghost=True)
    column = 46
    rows = (
        (15.0, "Surname / Nomen (1)", who.surname.upper()),
        (22.2, "Given names / Praenomina (2)", who.given.upper()),
        (29.4, "Nationality / Natio (3)", "UTOPIAN"),
        (36.6, "Date of birth / Dies natalis (4)", written(who.born, born=True)),
        (43.8, "Place of birth / Locus natalis (6)", who.place.upper()),
        (51.0, "Date of issue / Dies editionis (7)", written(who.issued)),
        (58.2, "Date of expiry / Valet usque ad (9)", written(who.expires)),
    )
    for y, label, value in rows:
        field(sheet, column, y, label, value, ink=look.title)
    field(sheet, 84, 36.6, "Sex / Sexus (5)", who.sex, ink=look.title)
    field(sheet, 84, 29.4, "Personal No. (10)", who.personal, ink=look.title)
    field(sheet, 81, 58.2, "Authority (8)", "PASSPORT OFFICE AMAUROT", ink=look.title)
    signature(sheet, rng, 83, 53.5, 20, ink=BLACK)
    hologram(sheet, 41, 52, 9)
    specimen(sheet, (176, 34, 40), 0.40)
    for y, line in zip((73.6, 80.2), passport_mrz(who), strict=True):
        sheet.cells(6.6, y, line, 10.4, 2.54)
    page = sheet.finished()
    page = add_grey(page, mottle(page.size, rng, 2.2, 18))
    bed = (sheet.px(139) // 2, sheet.px(103) // 2)
    laid = lay_on_glass(page, rounded(page.size, 38), bed, rng)
    return scan_colour(laid, rng, 4.2)


def scratches(card: Image.Image, rng: Random, count: int) -> None:
    """Scuff the laminate of a card that has lived in a wallet."""
    mask = Image.new("L", card.size, 0)
    pen = ImageDraw.Draw(mask)
    for _ in range(count):
        x, y = rng.randrange(card.width), rng.randrange(card.height)
        a, far = rng.uniform(-0.5, 0.5), rng.uniform(20, 190)
        pen.line([(x, y), (x + far * math.cos(a), y + far * math.sin(a))], fill=rng.randint(30, 90))
    card.paste((250, 250, 250), (0, 0, *card.size), mask.filter(ImageFilter.GaussianBlur(0.6)))


def chip(sheet: Sheet, x: float, y: float) -> None:
    """Draw the contacts of a chip card."""
    gold, seam = (205, 172, 92), (120, 96, 44)
    corners = [sheet.at(x, y), sheet.at(x + 12, y + 10)]
    sheet.pen.rounded_rectangle(corners, radius=sheet.px(1.6), fill=gold, outline=seam, width=sheet.px(0.15))
    for part in (0.33, 0.66):
        sheet.rule(x, y + 10 * part, x + 4, seam, 0.18)
        sheet.rule(x + 8, y + 10 * part, x + 12, seam, 0.18)
    sheet.box(x + 4, y + 2, 4, 6, fill=None, edge=seam, weight=0.18)


def scan_card(sheet: Sheet, rng: Random) -> Image.Image:
    """Wear a finished ID-1 card and scan it."""
    card = sheet.finished()
    card = add_grey(card, mottle(card.size, rng, 2.2, 16))
    scratches(card, rng, 60)
    bed = (sheet.px(101) // 2, sheet.px(70) // 2)
    laid = lay_on_glass(card, rounded(card.size, 38), bed, rng, (242, 242, 240))
    return scan_colour(laid, rng, 4.6)


def national_card(who: Person, look: Look, rng: Random) -> Image.Image:
    """Draw and scan the front of a Utopian identity card."""
    sheet = Sheet(85.6, 54, 300, look.paper, oversample=2)
    guilloche(sheet, rng, look)
    sheet.text(5, 7, "REPUBLIC OF UTOPIA", 8.5, ink=look.title, bold=3)
    sheet.text(5, 10.4, "IDENTITY CARD / CHARTA IDENTITATIS", 5, ink=look.title, bold=1)
    sheet.text(80.5, 7.2, who.number, 8.5, ink=BLACK, bold=2, anchor="rs")
    place_portrait(sheet, who, rng, 5, 14, w=24)
    chip(sheet, 68.5, 12.5)
    rows = (
        (15.4, "Surname / Nomen", who.surname.upper()),
        (22.0, "Given names / Praenomina", who.given.upper()),
        (28.6, "Date of birth / Dies natalis", written(who.born, born=True)),
        (35.2, "Place of birth / Locus natalis", who.place.upper()),
        (41.8, "Valid until / Valet usque ad", written(who.expires)),
    )
    for y, label, value in rows:
        field(sheet, 32, y, label, value, ink=look.title)
    field(sheet, 56, 41.8, "Sex / Sexus", who.sex, ink=look.title)
    place_portrait(sheet, who, rng, 69, 26, w=11.5, ghost=True)
    signature(sheet, rng, 33, 51.6, 22, ink=BLACK)
    hologram(sheet, 60, 33, 7)
    specimen(sheet, (176, 34, 40), 0.40)
    return scan_card(sheet, rng)


def driver_card(who: Person, look: Look, rng: Random) -> Image.Image:
    """Draw and scan the front of a driver licence of the province of Erewhon."""
    sheet = Sheet(85.6, 54, 300, look.paper, oversample=2)
    guilloche(sheet, rng, look)
    sheet.box(0, 0, 85.6, 9.5, fill=look.title, edge=None)
    sheet.text(5, 6.9, "EREWHON", 13, ink=(250, 250, 246), bold=3)
    sheet.text(80.5, 6.4, "DRIVER LICENCE", 8, ink=(250, 250, 246), bold=2, anchor="rs")
    place_portrait(sheet, who, rng, 4, 12, w=25)
    sheet.text(32, 15, "4d", 4.3, ink=look.title)
    sheet.text(35, 15, f"DL {who.number}", 9.5, ink=(150, 30, 36), bold=2)
    lines = (
        ("1", who.surname.upper()),
        ("2", who.given.upper()),
        ("8", "5 NOWHERE CRESCENT"),
        ("", "LARKHAVEN, EREWHON 00000"),
        ("3", f"{written(who.born, born=True)}   {who.place.upper()}"),
        ("4a", f"{written(who.issued)}      4b  {written(who.expires)}"),
        ("9", f"CLASS B      15  SEX {who.sex}      12  NONE"),
    )
    for place, (mark, value) in enumerate(lines):
        y = 20 + place * 4.3
        sheet.text(32, y, mark, 4.3, ink=look.title)
        sheet.text(35, y, value, 7 if place < 2 else 6.2, ink=BLACK, bold=1.6 if place < 2 else 0.6)
    place_portrait(sheet, who, rng, 71, 36, w=10.5, ghost=True)
    signature(sheet, rng, 5, 50.8, 22, ink=BLACK)
    sheet.text(35, 51, "NOT A GOVERNMENT DOCUMENT", 4.6, ink=look.title)
    hologram(sheet, 30, 40, 6)
    specimen(sheet, (34, 44, 120), 0.38)
    return scan_card(sheet, rng)
