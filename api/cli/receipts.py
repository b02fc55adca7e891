"""`shredvault receipt`: what has become of a record, and the paper for its applicant."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import Annotated, Final

import segno
import typer

from vault.errors import NotFoundError
from vault.home import open_vault
from vault.ids import RecordId, is_id
from vault.receipts.answers import Destroyed, Kept, Receipts, receipt_facts
from vault.records.receipt_codes import code_of

from .exits import at_named_path
from .manual import described
from .screen import facts, note, print_json, say
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["receipt_app"]

_SCALE: Final = 4
_WIDTH: Final = 460
_MARGIN: Final = 20
_LINE: Final = 22
_PLACE: Final = "/v1/receipts/"

receipt_app = typer.Typer(no_args_is_help=True, help="Say what has become of a record, and print its receipt.")


@receipt_app.command()
@described
def show(
    *,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code on the receipt, grouped or not.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what has become of a record, as anybody is told who holds its receipt. With --json, with the proof.

    \b
    Example:
      shredvault receipt show 3v7f0-k2m9q-8x1c5-r6t4w-0y2z7-brkbp
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        told = Receipts(vault).answer(code)
    if as_json:
        print_json(receipt_facts(told))
        return
    pairs = [("state", told.state)]
    match told:
        case Kept():
            pairs.append(("until", f"{told.until} at the latest"))
        case Destroyed():
            pairs += [("on", str(told.on)), ("certificate", told.certificate or "not issued yet")]
            pairs += [(f"proof ({name})", "with --json" if proof else "none") for name, proof in told.proof.items()]
    facts(pairs)


@receipt_app.command("print")
@described
def print_receipt(
    *,
    record_id: Annotated[str, typer.Argument(metavar="RECORD_ID", help="The record, as it was opened.")],
    to: Annotated[Path | None, typer.Option("--to", help="A file for the page to print, in SVG.")] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Where the public reaches this vault, https://…; the QR code then leads there."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Print the receipt of a record: its code, to read and as a QR code.

    \b
    Example:
      shredvault receipt print 3v7f0k2m9q8x1c5r6t4w0y2z7b --to receipt.svg --address https://vault.example.org
    """  # noqa: D301
    if not is_id(record_id):
        raise _no_such_record()
    code = code_of(RecordId(record_id))
    with open_vault(load_settings(home=home).home_folder) as vault:
        # A receipt for nothing would be answered like a mistyped one, for ever.
        try:
            Receipts(vault).answer(code)
        except NotFoundError as unknown:
            raise _no_such_record() from unknown
    # In capitals a QR code has room for half as much again.
    picture = segno.make(code.upper() if address is None else address.rstrip("/") + _PLACE + code, micro=False)
    if to is not None:
        with at_named_path():
            to.write_text(_page(picture, code, address), encoding="utf-8")
        note(f"Written to {to}. Give it to the applicant; the vault keeps no copy.")
        return
    drawn = io.StringIO()
    picture.terminal(out=drawn, compact=True)
    say(drawn.getvalue().rstrip("\n"))
    say(code)


def _no_such_record() -> NotFoundError:
    return NotFoundError("There is no such record.")


def _page(picture: segno.QRCode, code: str, address: str | None) -> str:
    """The receipt as one SVG drawing: the QR code, and under it what a person needs."""
    width, height = (int(side) for side in picture.symbol_size(scale=_SCALE))
    lines = [
        "Receipt for your application",
        code,
        # Each of them fits into the width in any sans-serif that a printer has.
        "With this code you can ask at any time whether",
        "your documents are kept, and until when, or when",
        "they were destroyed" + (":" if address else "."),
        *([address.rstrip("/") + _PLACE] if address else []),
        "Keep it. It shows nothing of what you filed.",
    ]
    texts = "".join(
        f'<text x="{_MARGIN}" y="{height + _LINE * (number + 1)}"{_style(line, code)}>{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    whole = height + _LINE * (len(lines) + 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(_WIDTH, width)} {whole}" '
        f'width="{max(_WIDTH, width)}" height="{whole}" font-family="sans-serif" font-size="14">'
        f"<title>Receipt {escape(code)}</title>"
        f'<rect width="100%" height="100%" fill="#fff"/>{picture.svg_inline(scale=_SCALE)}{texts}</svg>\n'
    )


def _style(line: str, code: str) -> str:
    return ' font-family="monospace" font-size="18" font-weight="bold"' if line == code else ""
