"""`shredvault rebuild`: a catalogue from the bucket and the custodians alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vault.home import Home
from vault.ledger.verifying import read_note
from vault.log.signing import vault_id_of
from vault.recovery.replacement import replace_catalogue
from vault.wording import number_of

from .exits import CommandError, ExitCode, at_named_path, carrying_out
from .ledger import named_key
from .manual import described
from .screen import note, print_json, say, somebody
from .serving import only_one
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["rebuild_command"]


@described
def rebuild_command(
    *,
    home: HomeOption = None,
    leave_lost: Annotated[
        bool,
        typer.Option(
            "--leave-lost", help="Go on without records that have lost their key or manifest; they are named."
        ),
    ] = False,
    ledger_key: Annotated[
        str | None,
        typer.Option(
            "--ledger-key",
            metavar="KEY",
            help="The key that signs the ledger, from your papers or an auditor's; where signing.json is lost.",
        ),
    ] = None,
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere; as often as you like."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new catalogue from the bucket and the custodian, when the old one is lost or came from a backup.

    For every restored database, before anything else is started: end `serve` on all hosts first. What was destroyed
    stays destroyed, holds are in force, and every complete record lives on under fresh master keys; the older master
    keys are destroyed. Records that were still receiving documents must be filed again.

    An old catalogue in the home gives its access tokens, less those that were revoked since, and is kept under
    another name. Without one, make new tokens afterwards.

    What dies goes by the ledger in the bucket, so it must be signed by the key in the home. If that is lost, and there
    is no old catalogue that knows it, name the key with --ledger-key, as `ledger key` printed it: not from the bucket.
    Where there is no old catalogue, only a checkpoint shows that the ledger's end was not cut off.

    \b
    Examples:
      shredvault rebuild
      shredvault rebuild --checkpoint from-the-city-clerk.txt
      shredvault rebuild --ledger-key shredvault/5b…+1f…+AX… --checkpoint from-the-city-clerk.txt
      shredvault status
    """  # noqa: D301
    where = Home.at(load_settings(home=home).home_folder)
    key = named_key(ledger_key) if ledger_key is not None else None
    if key is not None and vault_id_of(key).hex() != where.settings["vault_id"]:
        raise CommandError(ExitCode.USAGE, "The key that was named with --ledger-key is of another vault's ledger.")
    with at_named_path():
        notes = [read_note(path) for path in kept or ()]
    with only_one(where.path), carrying_out():
        replaced = replace_catalogue(where, leave_lost=leave_lost, ask=somebody(), ledger_key=key, kept=notes)
    if replaced.tokens is None and not notes:
        note("Nothing here shows that the end of the ledger was not cut off: compare it with a kept checkpoint.")
    done, tokens = replaced.rebuilt, replaced.tokens or 0
    if as_json:
        print_json(
            {
                "records": done.records,
                "held": done.held,
                "condemned": done.condemned,
                "gone": done.gone,
                "unlisted": done.unlisted,
                "holds_in_force": done.holds_in_force,
                "lost": done.lost,
                "tokens": tokens,
                "masters_discarded": replaced.recovered.masters_discarded,
            }
        )
        return
    living = number_of(done.records, "record", "lives", "live")
    say(f"{living} on, {done.held} of them held by {number_of(done.holds_in_force, 'hold')}.")
    if done.condemned:
        closed = number_of(done.condemned, "condemned record", "stays", "stay")
        say(f"{closed} closed; `shredvault recover` deletes the sealed bytes.")
    say("All older master keys are destroyed.")
    if done.gone:
        gone = number_of(done.gone, "record", "was", "were")
        say(f"{gone} destroyed and reclaimed before; the lists in the bucket name them.")
    for destruction in done.unlisted:
        note(f"The list of destruction {destruction} is missing or damaged; what was reclaimed of it is not known.")
    if replaced.tokens is None:
        note("There is no old catalogue that can be read; make new access tokens.")
    else:
        say(f"{number_of(tokens, 'access token', 'was', 'were')} taken over.")
    for record in done.lost:
        note(f"Record {record} is lost: it has no key any more, or no manifest.")
