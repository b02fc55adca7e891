"""`shredvault custodian`: where the master keys stand, and moving them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vault.catalogue.destructions import Destruction
from vault.destruction.carrying_out import require_newest_keys
from vault.destruction.moving import masters_in_use, move_masters, renew_masters
from vault.destruction.reclaim import reclaim
from vault.home import Home, open_vault
from vault.named_custodians import allow_custodian, forget_custodian
from vault.serving.fences import Node
from vault.status import destruction_record, find_destruction, write_destruction_record

from .exits import carrying_out
from .manual import described
from .screen import print_json, say, somebody, stepping, table, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["custodian_app"]

Address = Annotated[
    str, typer.Argument(metavar="URI", help="The custodian, for example pkcs11:token=vault?pin-source=file:/etc/pin")
]

custodian_app = typer.Typer(no_args_is_help=True, help="Look at the custodian of the master keys, or change it.")


@custodian_app.command()
@described
def show(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the master keys in use, where they stand, and when the custodian will destroy them by itself."""
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault:
        found = masters_in_use(vault)
    if as_json:
        print_json({"masters": [asdict(one) for one in found], "allowed": where.settings["custodians"]})
        return
    rows = [
        (one.tree, one.master, one.custodian, one.assurance, when(one.expires_at) if one.expires_at else "never")
        for one in found
    ]
    table(("tree", "master key", "custodian", "assurance", "ends by itself"), rows)


@custodian_app.command()
@described
def allow(*, uri: Address, home: HomeOption = None) -> None:
    """Name a custodian in this host's settings, so that master keys may stand there.

    `custodian move` does it on its own host. Other hosts of the same vault each need it, before the move: they open
    no custodian that only the database names.
    """
    new = allow_custodian(load_settings(home=home).home_folder, uri, ask=somebody())
    say("It is allowed from now on." if new else "It was allowed before.")


@custodian_app.command()
@described
def forget(*, uri: Address, home: HomeOption = None) -> None:
    """Name a custodian no more in this host's settings, when the vault has moved away from it and it is to go.

    Refused while a master key may still stand there. `rebuild` asks every custodian that is named, and does not go on
    while one of them does not answer.
    """
    old = forget_custodian(load_settings(home=home).home_folder, uri)
    say(
        "It is not named any more."
        if old
        else "It was not named; `shredvault custodian show --json` lists those that are."
    )


@custodian_app.command()
@described
def move(*, uri: Address, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Move the vault to another custodian: new master keys there, and the old ones destroyed. No record is touched.

    Cut off, it is put in order by `shredvault recover`; run it again then.

    \b
    Examples:
      shredvault custodian move "pkcs11:token=vault?pin-source=file:/etc/shredvault/pin"
      shredvault custodian move awskms:us-east-1
    """  # noqa: D301
    where = Home.at(load_settings(home=home).home_folder)
    allow_custodian(where.path, uri, ask=somebody())
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        require_newest_keys(vault)
        with carrying_out(), stepping() as step:
            done = move_masters(vault, uri, "move at the command line", step)
        for one in done:
            write_destruction_record(where.destructions, one)
        reclaim(vault)
        done = [find_destruction(vault, one.id) for one in done]
    _answer(where, done, "The master keys stand there already.", as_json=as_json)


@custodian_app.command()
@described
def renew(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Replace master keys that their custodian would destroy by itself too soon, or only after a sunset's deadline.

    The nightly sweep does it too.
    """
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        require_newest_keys(vault)
        with carrying_out(), stepping() as step:
            done = renew_masters(vault, "renewal at the command line", step)
        for one in done:
            write_destruction_record(where.destructions, one)
        reclaim(vault)
        done = [find_destruction(vault, one.id) for one in done]
    _answer(where, done, "No master key ends too soon or too late.", as_json=as_json)


def _answer(where: Home, done: list[Destruction], nothing: str, *, as_json: bool) -> None:
    paths = [write_destruction_record(where.destructions, one) for one in done]
    if as_json:
        print_json([{**destruction_record(one), "path": path} for one, path in zip(done, paths, strict=True)])
        return
    for one in done:
        say(f"The {one.tree} keys stand under {one.new_master}; {one.old_master} is destroyed.")
    if not done:
        say(nothing)
