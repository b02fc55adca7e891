"""`shredvault hold`: protects records from every destruction."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from vault.fences import Node
from vault.holds import NothingToHoldError, list_holds, place_hold, release_hold
from vault.home import Home, open_vault
from vault.keyring import open_custodians
from vault.reclaim import reclaim
from vault.status import destruction_record, find_destruction, write_destruction_record

from .exits import CommandError, ExitCode, carrying_out
from .manual import described
from .screen import note, print_json, say, somebody, stepping, table, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["hold_app"]

LIST_BYTES_MAX: Final = 8 * 1024 * 1024
"""Size of a file with record ids, in characters; a hold's 100,000 records need less."""

hold_app = typer.Typer(
    no_args_is_help=True, help="Protect records from every destruction: place, release and list holds."
)


@hold_app.command()
@described
def place(
    *,
    docket: Annotated[
        str, typer.Option(help="The case: letters, digits and . / : - only. It is kept in the clear; no names.")
    ],
    record_ids: Annotated[
        list[str] | None, typer.Argument(metavar="RECORD_ID...", help="The records to protect.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Record ids, one a line; `-` reads standard input. # begins a comment."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Protect records from every destruction, from now on. The same docket again adds to the same hold.

    Every id is answered: held, unknown, or destroyed and by which destruction. Exit code 0: all are held.
    12: some could not be held, the others are. 3: none could; no hold was placed.

    \b
    Examples:
      shredvault hold place 4n8m2k6q0w1x3z5v7t9r2p4m6k --docket 16-cv-100
      shredvault hold place --docket 16-cv-100 --file ids.txt
    """  # noqa: D301
    wanted = [*(record_ids or ()), *(_read_ids(file) if file else ())]
    if not wanted:
        raise CommandError(ExitCode.USAGE, "Name at least one record, or give --file.")
    with open_vault(load_settings(home=home).home_folder, ask=somebody()) as vault, Node(vault):
        try:
            placed = place_hold(vault, wanted, docket)
        except NothingToHoldError as nothing:
            _answer(None, docket, nothing.answers, as_json=as_json)
            raise
    _answer(placed.hold_id, docket, placed.answers, as_json=as_json)
    missed = sum(answer != "held" for answer in placed.answers.values())
    if missed:
        note(f"{missed} of {len(placed.answers)} records could not be held; the others are held.")
        raise typer.Exit(ExitCode.PARTLY)


def _answer(hold_id: str | None, docket: str, answers: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"hold": hold_id, "docket": docket, "answers": answers})
        return
    table(("record", "answer"), answers.items())
    if hold_id:
        say(f"Hold {hold_id}, docket {docket}.")


def _read_ids(name: str) -> list[str]:
    try:
        if name == "-":
            text = sys.stdin.read(LIST_BYTES_MAX + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(LIST_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as unreadable:
        raise CommandError(ExitCode.USAGE, f"The list of records cannot be read: {name}.") from unreadable
    if len(text) > LIST_BYTES_MAX:
        raise CommandError(ExitCode.USAGE, "The list of records is longer than 8 MiB; is it the right file?")
    return [found for line in text.splitlines() if (found := line.partition("#")[0].strip())]


@hold_app.command()
@described
def release(
    *,
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID", help="The hold, from `hold list`.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a hold. Its records fall under their old due dates again; the next sweep takes what is overdue.

    The copies of the records' keys that the hold made are destroyed with their master key, so that they cannot
    open the records after those are destroyed. No record is destroyed by this command.
    """
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        open_custodians(vault)
        with carrying_out(), stepping() as step:
            done = release_hold(vault, hold_id, "release at the command line", step)
        write_destruction_record(where.destructions, done)
        reclaim(vault)
        done = find_destruction(vault, done.id)
        path = write_destruction_record(where.destructions, done)
    if as_json:
        print_json({**destruction_record(done), "path": path})
        return
    say(f"The hold is released. Its {done.condemned} key copies are destroyed; no record is.")
    say(f"Written down in {path}")


@hold_app.command("list")
@described
def list_all(
    *,
    home: HomeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Released holds too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the holds in force, oldest first."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        holds = list_holds(vault, all_of_them=everything)
    if as_json:
        print_json([asdict(hold) for hold in holds])
    elif holds:
        rows = [(h.id, h.docket, h.records, when(h.placed_at), when(h.released_at)) for h in holds]
        table(("hold", "docket", "records", "placed", "released"), rows)
    else:
        say("There are no holds." if everything else "There are no holds in force.")
