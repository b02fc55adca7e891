"""`shredvault rehearse`: a whole sunset on made-up records, before there is a real one."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from vault import canonical
from vault.certificates import Certificate, render, verify_certificate

from .exits import CommandError, ExitCode
from .manual import described
from .rehearsal_place import TemporaryPlace, set_place
from .rehearsal_story import Claim, Story
from .screen import print_json, say
from .settings import JsonOption

__all__ = ["rehearse"]

_FILING_DAYS: Final = 4
_RECORDS: Final = 40
_RECORDS_MAX: Final = 500
"""The control tries every dead key of every filing day, a thousand each, on every record."""


@described
def rehearse(
    *,
    records: Annotated[
        int, typer.Option(min=_FILING_DAYS + 1, max=_RECORDS_MAX, help="How many records are made up.")
    ] = _RECORDS,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the papers are kept. [dim]Default: a new temporary folder.[/dim]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rehearse the end of a program at its worst: courts forbid it, the deadline passes, then everything goes.

    A vault is founded in a temporary folder. Records are filed and destroyed in it for real; only the calendar, the
    people and the papers are made up. It plays the two years before a deadline and the months after it: holds by two
    courts that overlap, a decision recorded while everything is held, releases by two persons each, the destruction,
    and a thief who has a backup. Nothing of yours is touched, and nothing is left but certificates marked REHEARSAL.
    Each claim is checked: when one is untrue, the exit code is 10.
    """
    kept = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="shredvault-rehearsal-papers-"))
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with set_place() as place:
            story = Story(place, records, _FILING_DAYS, _silent if as_json else say)
            story.play()
            papers = [path for certificate in story.certificates for path in _write(kept, certificate)]
            claims = [*story.claims, *(_no_pass(place, certificate) for certificate in story.certificates)]
    except BaseException:
        # Cut off before it had a paper to keep: then there is no folder to keep either.
        with suppress(OSError):
            kept.rmdir()
        raise
    untrue = [claim for claim in claims if not claim.true]
    if as_json:
        print_json({"claims": [{**asdict(one), "day": one.day.isoformat()} for one in claims], "papers": papers})
    else:
        _end(claims, papers, time.monotonic() - started)
    if untrue:
        raise CommandError(ExitCode.INCIDENT, f"{len(untrue)} claims did not come out true.")


def _silent(_: str) -> None:
    pass


def _write(folder: Path, certificate: Certificate) -> list[Path]:
    """A certificate to read and as it was signed; its name says what it is not."""
    signature = canonical.decode(certificate.document)["signature"]
    contents = {"json": certificate.document, "pdf": render(certificate.content, signature)}
    paths = []
    for suffix, content in contents.items():
        path = folder / f"REHEARSAL-{certificate.id}.{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths


def _no_pass(place: TemporaryPlace, certificate: Certificate) -> Claim:
    """Whether the verifier refuses it, given the key of the vault that it comes from."""
    try:
        verify_certificate.verify(certificate.document, f"{place.vault.signing.verifier}\n".encode())
    except verify_certificate.InvalidError:
        refused = True
    else:
        refused = False
    return Claim(certificate.issued_at.date(), "the certificate of a rehearsal does not pass for a real one", refused)


def _end(claims: list[Claim], papers: list[Path], seconds: float) -> None:
    good = sum(claim.true for claim in claims)
    say("")
    say(f"{good} of {len(claims)} checks came out as promised, in {seconds:.0f} s. The papers, marked REHEARSAL:")
    for path in papers:
        say(f"  {path}")
