"""A bill, letters and an envelope, as an enrollment center would scan them."""

from __future__ import annotations

from random import Random

from PIL import Image, ImageFilter

from tests.specimens.specimen_scan import add_grey, grain, mottle, noise, ramp, scan_bilevel, scan_grey
from tests.specimens.specimen_sheet import (
    A4,
    BLACK,
    LETTER,
    SHADE,
    Sheet,
    barcode,
    fold,
    holes,
    paragraph,
    signed,
    specimen,
)
from tests.specimens.specimen_words import BENEFITS, BILL_NOTES, SCHOOL


def utility_bill(rng: Random) -> list[Image.Image]:
    """Return both sides of a water and power bill, in black and white."""
    front = Sheet(*LETTER, 300)
    front.pen.ellipse([*front.at(20, 16), *front.at(36, 32)], outline=BLACK, width=front.px(0.9))
    drop = [front.at(28, 18), front.at(32.5, 26.5), front.at(28, 30), front.at(23.5, 26.5)]
    front.pen.polygon(drop, fill=BLACK)
    front.text(40, 24, "Larkhaven Water & Power", 17, bold=2.2)
    front.text(40, 30, "PO Box 0, Larkhaven 00000    Telephone 555-0142", 8.5)
    front.box(136, 38, 60, 31, fill=SHADE)
    facts = (
        ("Account", "0000-77-4417"),
        ("Bill date", "3 March 2031"),
        ("Due date", "24 March 2031"),
        ("Amount due", "$ 96.38"),
    )
    for place, (label, value) in enumerate(facts):
        base = 45 + place * 7
        front.text(139, base, label, 9)
        front.text(193, base, value, 9.5, bold=1.8, anchor="rs")
    for place, line in enumerate(("THADDEUS BRAMBLEWORTH", "77 NOWHERE CRESCENT, FLAT 4", "LARKHAVEN 00000")):
        front.text(24, 52 + place * 5, line, 10.5)
    front.text(20, 84, "Your bill for 1 February to 28 February 2031", 13, bold=1.8)
    rows = (
        ("Previous balance", "", "$ 101.12"),
        ("Payment received 20 Feb, thank you", "", "- $ 101.12"),
        ("Electricity, meter 000-4417", "312 kWh", "$ 53.04"),
        ("Water, meter 000-0093", "7.4 m3", "$ 19.24"),
        ("Sewer", "7.4 m3", "$ 12.58"),
        ("Service charge", "28 days", "$ 9.80"),
        ("Street lighting levy", "", "$ 1.72"),
        ("Total due", "", "$ 96.38"),
    )
    for place, (label, amount, cost) in enumerate(rows):
        row = 96 + place * 7.6
        weight = 1.8 if place == len(rows) - 1 else 0.0
        front.text(22, row, label, 10.5, bold=weight)
        front.text(140, row, amount, 10.5, anchor="rs")
        front.text(194, row, cost, 10.5, bold=weight, anchor="rs")
        front.rule(20, row + 2.2, 196, weight=0.5 if place >= len(rows) - 2 else 0.15)
    front.text(20, 168, "Electricity used, kWh a month", 9.5, bold=1.8)
    months = "MAMJJASONDJF"
    for place, month in enumerate(months):
        used = rng.uniform(11, 25) if place < 11 else 22.0
        front.box(24 + place * 8, 202 - used, 5, used, fill=(60, 60, 60) if place == 11 else SHADE)
        front.text(26.5 + place * 8, 206, month, 8, anchor="ms")
    front.rule(20, 202, 122)
    stub(front, rng)
    back = Sheet(*LETTER, 300)
    back.text(20, 28, "About your bill", 15, bold=2.2)
    y = 40.0
    for note in BILL_NOTES:
        y = paragraph(back, 20, y, note, 11, width=176) + 4
    back.text(20, y + 4, "Account 0000-77-4417    page 2 of 2", 9)
    for sheet in (front, back):
        specimen(sheet, BLACK, 1.0, hatched=True)
    return [scan_bilevel(sheet.finished(), rng) for sheet in (front, back)]


def stub(sheet: Sheet, rng: Random) -> None:
    """Draw the payment slip at the foot of a bill, under its perforation."""
    for x in range(8, 208, 3):
        sheet.rule(x, 216, x + 1.6, weight=0.25)
    sheet.text(20, 224, "Please return this slip with your payment", 9)
    barcode(sheet, rng, 20, 232, w=82, h=13)
    sheet.text(20, 250, "0000774417 00009638 20310324", 9)
    sheet.box(136, 228, 60, 22)
    sheet.text(139, 235, "Amount due", 9)
    sheet.text(193, 235, "$ 96.38", 11, bold=1.8, anchor="rs")
    sheet.text(139, 245, "Amount paid  $", 9)
    sheet.rule(164, 245.6, 193)


def school_letter(rng: Random) -> Image.Image:
    """Return a letter in which a school confirms an address, in black and white."""
    sheet = Sheet(*A4, 200)
    crest = [(25, 18), (43, 18), (43, 30), (34, 40), (25, 30)]
    sheet.pen.polygon([sheet.at(*spot) for spot in crest], outline=BLACK, width=sheet.px(0.8))
    sheet.text(34, 31, "LP", 15, bold=4, anchor="ms")
    sheet.text(50, 27, "Larkhaven Primary School No. 0", 17, bold=2.2)
    sheet.text(50, 34, "1 Chalk Hill, Larkhaven 00000    Telephone 555-0119", 9.5)
    sheet.rule(25, 46, 185, weight=0.5)
    sheet.text(185, 58, "11 February 2031", 11.5, anchor="rs")
    sheet.text(25, 72, "Confirmation of enrollment and address", 13.5, bold=2.2)
    y = 84.0
    for part in SCHOOL[:2]:
        y = paragraph(sheet, 25, y, part, 11.5, width=160) + 3.5
    rows = (
        ("Pupil", "Pim Vexley"),
        ("Born", "30 February 2023"),
        ("Class", "2 b, Mr. Abernethy-Oak"),
        ("Parent or guardian", "Ottoline Vexley"),
        ("Address", "Apartment 3C, 118 Paper Lantern Street"),
    )
    for label, value in rows:
        sheet.box(25, y, 48, 8)
        sheet.box(73, y, 112, 8)
        sheet.text(28, y + 5.5, label, 11)
        sheet.text(76, y + 5.5, value, 11, bold=1.4)
        y += 8
    y += 9
    for part in SCHOOL[2:]:
        y = paragraph(sheet, 25, y, part, 11.5, width=160) + 3.5
    signed(sheet, rng, 25, y + 22, "Philippa Wren-Doe, school secretary", date="")
    cx, cy = sheet.at(152, y + 20)
    for reach, weight in ((16.0, 0.7), (11.5, 0.3)):
        r = sheet.px(reach)
        sheet.pen.ellipse([cx - r, cy - r, cx + r, cy + r], outline=BLACK, width=sheet.px(weight))
    sheet.text(152, y + 18.5, "SCHOOL", 9, bold=1.8, anchor="ms")
    sheet.text(152, y + 23, "OFFICE", 9, bold=1.8, anchor="ms")
    holes(sheet, (108.5, 188.5))
    specimen(sheet, BLACK, 1.0, hatched=True)
    return scan_bilevel(sheet.finished(), rng)


def benefits_letter(rng: Random) -> Image.Image:
    """Return a benefits letter in sixteen greys."""
    sheet = Sheet(*LETTER, 150, oversample=2)
    sheet.rule(25, 34, 190, (70, 80, 90), 0.8)
    sheet.text(25, 22, "City of Larkhaven", 16, bold=2.2)
    sheet.text(25, 28, "Office of Household Support", 11)
    sheet.text(190, 20, "3 Imaginary Row, Larkhaven 00000", 8.5, anchor="rs")
    sheet.text(190, 25, "555-0107, weekdays 8 to 4", 8.5, anchor="rs")
    for place, line in enumerate(("Ottoline Vexley", "Apartment 3C", "118 Paper Lantern Street", "Larkhaven 00000")):
        sheet.text(25, 48 + place * 5.2, line, 11)
    sheet.text(190, 48, "27 January 2031", 11, anchor="rs")
    sheet.text(190, 53.2, "Case HS-0000-3141", 11, anchor="rs")
    sheet.text(25, 82, "Your Household Supplement: notice of award", 13, bold=2.2)
    y = 93.0
    for part in BENEFITS[:3]:
        y = paragraph(sheet, 25, y, part, 11, width=165) + 3.5
    rows = (
        ("Rent taken into account", "$ 1,140.00"),
        ("People in the household", "3"),
        ("Monthly income taken into account", "$ 2,310.00"),
        ("Your supplement each month", "$ 184.50"),
    )
    for place, (label, value) in enumerate(rows):
        last = place == len(rows) - 1
        sheet.box(35, y, 145, 8, fill=SHADE if last else None)
        sheet.text(38, y + 5.6, label, 10.5, bold=1.6 if last else 0)
        sheet.text(177, y + 5.6, value, 10.5, bold=1.6 if last else 0, anchor="rs")
        y += 8
    y += 9
    for part in BENEFITS[3:]:
        y = paragraph(sheet, 25, y, part, 11, width=165) + 3.5
    sheet.text(25, y + 3, "Yours sincerely,", 11)
    signed(sheet, rng, 25, y + 24, "Ambrose Tallow-Finch, case officer", date="")
    for third in (93, 186):
        fold(sheet, third)
    specimen(sheet, (120, 120, 120), 0.34)
    grey = scan_grey(sheet.finished(), rng, 2.0, 0.6)
    cleaned = grey.point([max(0, min(255, round((v - 24) * 1.23))) for v in range(256)])
    steps = cleaned.point([min(15, (v + 8) // 17) for v in range(256)])
    picture = Image.frombytes("P", steps.size, steps.tobytes())
    picture.putpalette([level * 17 for level in range(16) for _ in range(3)])
    return picture


def envelope(rng: Random) -> Image.Image:
    """Return a photograph of a posted envelope lying on a table."""
    table = Sheet(270, 170, 100, (126, 90, 60))
    size = table.image.size
    streaks = noise((size[0] // 90, size[1] // 2), rng, 13).resize(size, Image.Resampling.BICUBIC)
    wood = add_grey(add_grey(table.image, streaks), mottle(size, rng, 10, 120))
    paper = Sheet(220, 110, 100, (232, 226, 212), oversample=2)
    paper.text(10, 14, "City of Larkhaven", 10, bold=1.8)
    paper.text(10, 19, "Office of Household Support", 7.5)
    paper.text(10, 23, "3 Imaginary Row, Larkhaven 00000", 7.5)
    for place, line in enumerate(("OTTOLINE VEXLEY", "118 PAPER LANTERN STREET", "APARTMENT 3C", "LARKHAVEN 00000")):
        paper.text(92, 60 + place * 6.4, line, 13)
    paper.box(186, 9, 25, 30, fill=(250, 248, 240), edge=None)
    paper.box(188, 11, 21, 26, fill=(60, 112, 118), edge=None)
    paper.pen.ellipse([*paper.at(192, 15), *paper.at(205, 28)], fill=(232, 190, 96))
    paper.text(198.5, 35, "UTOPIA 00", 6, ink=(250, 248, 240), bold=1.8, anchor="ms")
    cx, cy = paper.at(172, 24)
    for reach in (11.0, 7.5):
        r = paper.px(reach)
        paper.pen.ellipse([cx - r, cy - r, cx + r, cy + r], outline=(60, 58, 66), width=4)
    paper.text(172, 25.3, "28 I 31", 7.5, ink=(60, 58, 66), bold=2, anchor="ms")
    for wave in range(5):
        crest = 15 + wave * 4
        spots = [paper.at(184 + x * 0.5, crest + (x % 8 > 3) * 1.1) for x in range(52)]
        paper.pen.line(spots, fill=(60, 58, 66), width=4, joint="curve")
    barcode(paper, rng, 92, 96, w=60, h=4)
    specimen(paper, (176, 34, 40), 0.36)
    face = paper.finished()
    face = add_grey(face, mottle(face.size, rng, 1.8, 14))
    face = add_grey(face, ramp(face.size, lambda x: 134 - 14 * x))
    left, top = (size[0] - face.width) // 2, (size[1] - face.height) // 2
    shadow = Image.new("L", size, 0)
    shadow.paste(170, (left + 8, top + 10, left + 8 + face.width, top + 10 + face.height))
    wood.paste((40, 26, 18), (0, 0, *size), shadow.filter(ImageFilter.GaussianBlur(7)))
    wood.paste(face, (left, top))
    wood = wood.rotate(-2.4, Image.Resampling.BICUBIC)
    corners = (46, 40, 26, size[1] - 34, size[0] - 22, size[1] - 38, size[0] - 60, 30)
    photo = wood.transform((940, 590), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    photo = add_grey(photo.filter(ImageFilter.GaussianBlur(0.6)), ramp(photo.size, lambda x: 116 + 26 * x))
    photo = grain(photo, rng, 1.6, 0.0)
    return photo.quantize(160, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
