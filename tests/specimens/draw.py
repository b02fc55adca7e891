"""Draw the scans in this folder again: ``python tests/specimens/draw.py [folder]``.

Needs Python 3.11 and Pillow. Every picture has its own fixed seed, so the same
version of Pillow writes the same files again, byte for byte. Nothing that is
drawn belongs to anyone: the people, the places and the numbers are invented,
and every page says SPECIMEN.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

# So that this also runs as a plain script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.specimens.specimen_cards import Look, Person, driver_card, national_card, passport
from tests.specimens.specimen_leases import lease_in_black, lease_in_greys
from tests.specimens.specimen_papers import benefits_letter, envelope, school_letter, utility_bill

SEED = "shredvault specimens 1"
MIN_IS_WHITE = {262: 0}

BLUE = Look((244, 241, 232), (112, 158, 190), (206, 132, 146), (34, 56, 112))
GREEN = Look((241, 243, 230), (118, 172, 138), (206, 170, 96), (26, 84, 60))
ROSE = Look((246, 238, 234), (204, 128, 140), (128, 136, 190), (112, 30, 52))

OTTOLINE = Person(
    "Vexley",
    "Ottoline Maud",
    "F",
    "870419",
    "Amaurot",
    "X00031415",
    "260611",
    "360610",
    "UT0000870419",
    (226, 184, 156),
    (92, 52, 34),
    (58, 72, 112),
    long_hair=True,
)
THADDEUS = Person(
    "Brambleworth",
    "Thaddeus",
    "M",
    "740228",
    "Polylerit",
    "X00027182",
    "280103",
    "380102",
    "UT0000740228",
    (150, 104, 76),
    (34, 28, 28),
    (88, 44, 48),
    long_hair=False,
)
MARISOL = Person(
    "Quillfeather-Oduya",
    "Marisol Ines",
    "F",
    "021130",
    "Anyder",
    "X00016180",
    "290822",
    "390821",
    "UT0000021130",
    (190, 140, 106),
    (40, 30, 30),
    (50, 98, 84),
    long_hair=True,
)
BERTRAND = Person(
    "Vexley",
    "Bertrand",
    "M",
    "850707",
    "Amaurot",
    "E00014142",
    "270315",
    "370314",
    "",
    (232, 196, 170),
    (168, 128, 74),
    (70, 70, 78),
    long_hair=False,
)
WILHELMINA = Person(
    "Plonk",
    "Wilhelmina",
    "F",
    "660921",
    "Anyder",
    "0000-17320",
    "250501",
    "330921",
    "",
    (216, 176, 150),
    (150, 148, 150),
    (104, 60, 108),
    long_hair=True,
)


def chance(name: str) -> Random:
    """Return the fixed source of chance of one file."""
    return Random(f"{SEED}/{name}")


def photographs(folder: Path) -> None:
    """Draw the passports and the cards."""
    jobs = (
        ("passport-1.jpg", passport, OTTOLINE, BLUE, 82),
        ("passport-2.jpg", passport, THADDEUS, ROSE, 78),
        ("passport-3.jpg", passport, MARISOL, GREEN, 84),
        ("id-card-1.jpg", national_card, BERTRAND, GREEN, 82),
        ("id-card-2.jpg", driver_card, WILHELMINA, BLUE, 80),
    )
    for name, draw, who, look, quality in jobs:
        picture = draw(who, look, chance(name))
        picture.save(folder / name, quality=quality, dpi=(300, 300))


def leases(folder: Path) -> None:
    """Draw the leases, as PDF files that carry neither a date nor a title."""
    for name, draw in (("lease-1.pdf", lease_in_greys), ("lease-2.pdf", lease_in_black)):
        pages: list[Image.Image] = draw(chance(name))
        settings: dict[str, Any] = {"resolution": 200}
        if pages[0].mode == "L":
            settings["quality"] = 50
        undated = dict.fromkeys(("title", "creationDate", "modDate"))
        pages[0].save(folder / name, save_all=True, append_images=pages[1:], **settings, **undated)


def letters(folder: Path) -> None:
    """Draw the bill, the letters and the envelope."""
    name = "utility-bill-1.tiff"
    front, back = utility_bill(chance(name))
    front.save(
        folder / name,
        save_all=True,
        append_images=[back],
        compression="group4",
        dpi=(300, 300),
        tiffinfo=MIN_IS_WHITE,
    )
    name = "school-letter-1.tiff"
    school_letter(chance(name)).save(folder / name, compression="group4", dpi=(200, 200), tiffinfo=MIN_IS_WHITE)
    name = "letter-1.png"
    benefits_letter(chance(name)).save(folder / name, dpi=(150, 150), optimize=True)
    name = "envelope-1.png"
    envelope(chance(name)).save(folder / name, optimize=True)


def main() -> None:
    """Draw everything into the folder named, or else beside this script."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    photographs(folder)
    leases(folder)
    letters(folder)


if __name__ == "__main__":
    main()
