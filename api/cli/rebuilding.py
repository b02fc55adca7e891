"""`shredvault rebuild`: a catalogue from the bucket and the custodians alone."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from vault.catalogue import Catalogue
from vault.catalogue.schema import access_tokens
from vault.destruction import recover_destructions
from vault.errors import CatalogueError, VaultError
from vault.home import CATALOGUE, Home, open_for_rebuild, open_vault
from vault.rebuild import rebuild

from .exits import carrying_out
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
        bool, typer.Option("--leave-lost", help="Go on though some records have no key any more; they are named.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new catalogue from the bucket and the custodian, when the old one is lost or came from a backup.

    For every restored database, before anything else is started: end `serve` on all hosts first. What was destroyed
    stays destroyed, holds are in force, and every complete record lives on under fresh master keys; the older master
    keys are destroyed. Records that were still receiving documents must be filed again.

    An old catalogue in the home gives its access tokens, less those that were revoked since, and is kept under
    another name. Without one, make new tokens afterwards.

    \b
    Examples:
      shredvault rebuild
      shredvault status
    """  # noqa: D301
    where = Home.at(load_settings(home=home).home_folder)
    with ExitStack() as held:
        held.enter_context(only_one(where.path))
        tokens = _tokens_of(where)
        with open_for_rebuild(where.path, ask=somebody()) as vault:
            done = rebuild(vault, where.settings["custodians"], tokens, leave_lost=leave_lost)
        with open_vault(where.path, ask=somebody()) as vault, carrying_out():
            recovered = recover_destructions(vault)
    if as_json:
        print_json(
            {
                "records": done.records,
                "held": done.held,
                "condemned": done.condemned,
                "holds_in_force": done.holds_in_force,
                "lost": done.lost,
                "tokens": len(tokens),
                "masters_discarded": recovered.masters_discarded,
            }
        )
        return
    say(f"{done.records} records live on, {done.held} of them held by {done.holds_in_force} holds.")
    say(f"{done.condemned} condemned records stay closed; their older master keys are destroyed.")
    say(f"{len(tokens)} access tokens were taken over.")
    for record in done.lost:
        note(f"Record {record} has a manifest and no key.")


def _tokens_of(where: Home) -> list[dict[str, Any]]:
    """Access tokens of the catalogue that is to be replaced, where one can be read."""
    if "database" in where.settings or not (where.path / CATALOGUE).exists():
        return []
    try:
        with closing(Catalogue(where.database)) as old, old.read() as tx:
            return [dict(row._mapping) for row in tx.execute(sa.select(access_tokens))]  # noqa: SLF001  # public, by its documentation
    except (CatalogueError, VaultError, sa.exc.SQLAlchemyError):
        note("The old catalogue cannot be read; make new access tokens.")
        return []
