"""Two leases that run over several pages."""

from __future__ import annotations

from random import Random

from PIL import Image

from tests.specimens.specimen_scan import scan_bilevel, scan_grey
from tests.specimens.specimen_sheet import (
    A4,
    BLACK,
    LETTER,
    SHADE,
    Sheet,
    fold,
    holes,
    paragraph,
    signature,
    signed,
    specimen,
)
from tests.specimens.specimen_words import LEASE_CLAUSES


class Lease:
    """A lease that grows page by page as its clauses are written."""

    def __init__(self, title: str, terms: dict[str, str], paper: tuple[float, float], points: float) -> None:
        """Begin a lease on an empty first page."""
        self.title = title
        self.terms = terms
        self.paper = paper
        self.points = points
        self.pages: list[Sheet] = []
        self.left = 25.0
        self.wide = paper[0] - 2 * self.left
        self.y = 0.0
        self.turn()

    def turn(self) -> None:
        """Take the next page."""
        page = Sheet(*self.paper, 200)
        self.pages.append(page)
        self.y = 28.0
        if len(self.pages) == 1:
            page.text(self.paper[0] / 2, 31, self.title, 16, bold=2.2, anchor="ms")
            page.text(self.paper[0] / 2, 37.5, self.terms["premises"], 10, anchor="ms")
            page.rule(self.left, 41, self.left + self.wide, weight=0.4)
            self.y = 49.0

    def room(self, needed: float) -> Sheet:
        """Return the page with that much room left, turning over if there is none."""
        if self.y + needed > self.paper[1] - 32:
            self.turn()
        return self.pages[-1]

    def clauses(self) -> None:
        """Write every clause, never leaving a heading alone at the foot of a page."""
        for number, (heading, words) in enumerate(LEASE_CLAUSES, 1):
            text = words.format(**self.terms)
            probe = self.pages[-1].wrap(text, self.points, self.wide - 8)
            page = self.room(6 + len(probe) * self.points * 0.49)
            page.text(self.left, self.y, f"{number}.", self.points, bold=1.8)
            page.text(self.left + 8, self.y, heading, self.points, bold=1.8)
            y = self.y + self.points * 0.52
            self.y = paragraph(page, self.left + 8, y, text, self.points, width=self.wide - 8) + 2.6

    def schedule(self, rows: tuple[tuple[str, str], ...]) -> None:
        """Write the schedule as a ruled table."""
        page = self.room(12 + 7 * len(rows))
        page.text(self.left, self.y + 2, "Schedule", self.points + 1, bold=2.2)
        self.y += 5
        for label, value in rows:
            page.box(self.left, self.y, 50, 7, fill=SHADE)
            page.box(self.left + 50, self.y, self.wide - 50, 7)
            page.text(self.left + 2, self.y + 4.9, label, self.points - 1)
            page.text(self.left + 52, self.y + 4.9, value, self.points - 1)
            self.y += 7
        self.y += 7

    def close(self, rng: Random, names: tuple[tuple[str, str], ...], date: str) -> None:
        """Have everyone sign, put initials and a number at the foot of each page."""
        page = self.room(14 + 22 * len(names))
        self.y = paragraph(
            page,
            self.left,
            self.y,
            f"Signed by the parties at Larkhaven on {date}.",
            self.points,
            width=self.wide,
        )
        for name, role in names:
            self.y += 20
            signed(page, rng, self.left, self.y, f"{name}, {role}", date=date)
        for number, sheet in enumerate(self.pages, 1):
            foot = self.paper[1] - 16
            words = f"Page {number} of {len(self.pages)}"
            sheet.text(self.paper[0] / 2, foot, words, 8, anchor="ms")
            sheet.text(self.left + self.wide - 26, foot, "Initials", 8, anchor="rs")
            sheet.rule(self.left + self.wide - 24, foot + 0.6, self.left + self.wide)
            signature(sheet, rng, self.left + self.wide - 22, foot - 0.4, 15, ink=(30, 36, 96))


def lease_in_greys(rng: Random) -> list[Image.Image]:
    """Return the pages of a lease on US Letter, scanned in greys."""
    terms = {
        "landlord": "Pebble & Thimble Lettings, a partnership",
        "office": "2 Imaginary Row, Larkhaven",
        "tenants": "Ottoline Vexley and Bertrand Vexley",
        "premises": "Apartment 3C, 118 Paper Lantern Street, Larkhaven",
        "start": "1 June 2030",
        "end": "31 May 2031",
        "rent": "$1,140.00",
        "late": "$25.00",
        "deposit": "$1,140.00",
    }
    lease = Lease("RESIDENTIAL LEASE AGREEMENT", terms, LETTER, 11)
    lease.clauses()
    lease.schedule(
        (
            ("Other occupants", "Pim Vexley (child)"),
            ("Appliances", "Stove, refrigerator, washing machine"),
            ("Keys handed over", "2 street door, 2 apartment, 1 letter box"),
        )
    )
    people = (
        ("Ottoline Vexley", "Tenant"),
        ("Bertrand Vexley", "Tenant"),
        ("Cornelius Thimble", "for the Landlord"),
    )
    lease.close(rng, people, "24 May 2030")
    scans = []
    for page in lease.pages:
        page.pen.line([page.at(11, 9), page.at(19, 14)], fill=(70, 70, 76), width=page.px(0.6))
        fold(page, page.height / 3)
        specimen(page, (120, 120, 120), 0.32)
        scans.append(scan_grey(page.finished(), rng, 2.2))
    return scans


def lease_in_black(rng: Random) -> list[Image.Image]:
    """Return the pages of a lease on A4, scanned in black and white."""
    terms = {
        "landlord": "Marigold Gloam",
        "office": "the Old Semaphore, 9 Harbour Steps, Larkhaven",
        "tenants": "Thaddeus Brambleworth",
        "premises": "Flat 4, 77 Nowhere Crescent, Larkhaven",
        "start": "15 September 2030",
        "end": "14 September 2031",
        "rent": "$865.00",
        "late": "$20.00",
        "deposit": "$1,297.50",
    }
    lease = Lease("TENANCY AGREEMENT", terms, A4, 12)
    lease.clauses()
    lease.schedule(
        (
            ("Other occupants", "None"),
            ("Furniture", "Bed, table, four chairs, wardrobe, desk"),
            ("Appliances", "Stove, refrigerator"),
            ("Electricity meter", "No. 000-4417, reading 20 318"),
            ("Keys handed over", "1 street door, 2 flat, 1 cellar"),
        )
    )
    people = (("Thaddeus Brambleworth", "Tenant"), ("Marigold Gloam", "Landlord"))
    lease.close(rng, people, "9 September 2030")
    scans = []
    for page in lease.pages:
        holes(page, (108.5, 188.5))
        specimen(page, BLACK, 1.0, hatched=True)
        scans.append(scan_bilevel(page.finished(), rng))
    return scans
