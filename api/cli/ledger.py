"""`shredvault ledger`: what the vault has written down, shown so that others can check it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vault.errors import LedgerBrokenError
from vault.home import open_vault
from vault.ledger.showing import checkpoint_at, consistency, latest_checkpoint, prove_entry
from vault.ledger.verifying import Verified, export_ledger, read_note, verify_folder, verify_vault
from vault.ledger.witnesses import keep_cosigned, name_witness
from vault.log import VerifierKey
from vault.log.signing import vault_id_of
from vault.wording import number_of

from .exits import CommandError, ExitCode, at_named_path
from .manual import described
from .screen import print_json, say, table, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["ledger_app", "named_key"]

ledger_app = typer.Typer(
    no_args_is_help=True,
    help="Show and verify what the vault has written down: checkpoints, proofs, exports, witnesses.",
)
_Key = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KEY", help="The log's key, from `ledger key`; twice after the first was lost."),
]


@ledger_app.command()
@described
def key(*, home: HomeOption = None) -> None:
    """Print the public key of the vault's log. Give it to whoever is to verify: it is no secret."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        say(str(vault.signing.verifier))


@ledger_app.command()
@described
def checkpoint(
    *,
    size: Annotated[int | None, typer.Option(help="As it was at so many entries. [dim]Default now.[/dim]")] = None,
    home: HomeOption = None,
) -> None:
    """Print a signed checkpoint: how many entries there are, and the one hash over them all.

    Keep it where nobody of the vault can change it. `ledger verify --checkpoint` then finds whatever was cut off
    or rewritten since. Witnesses sign it as it is (C2SP tlog-checkpoint).
    """
    with open_vault(load_settings(home=home).home_folder) as vault:
        signed = latest_checkpoint(vault) if size is None else checkpoint_at(vault, size)
    say(signed.removesuffix("\n"))


@ledger_app.command()
@described
def prove(
    *,
    entry: Annotated[int | None, typer.Argument(metavar="ENTRY", help="The entry's number, from 1.")] = None,
    older: Annotated[
        int | None, typer.Option("--from", metavar="SIZE", help="Prove that nothing changed since this size.")
    ] = None,
    newer: Annotated[int | None, typer.Option("--to", metavar="SIZE", help="Up to this size.")] = None,
    home: HomeOption = None,
) -> None:
    """Print a proof as JSON: that an entry stands in the ledger, or that an older ledger was only added to.

    The proof of an entry shows its facts and the salt under which its leaf commits to them.

    \b
    Examples:
      shredvault ledger prove 17
      shredvault ledger prove --from 17 --to 40
    """  # noqa: D301
    if (entry is None) == (older is None or newer is None):
        raise CommandError(ExitCode.USAGE, "Name an entry, or give --from and --to.")
    with open_vault(load_settings(home=home).home_folder) as vault:
        if entry is not None:
            print_json(prove_entry(vault, entry).extract())
            return
        assert older is not None
        assert newer is not None
        path = [one.hex() for one in consistency(vault, older, newer)]
        print_json({"from": checkpoint_at(vault, older), "to": checkpoint_at(vault, newer), "path": path})


@ledger_app.command()
@described
def export(
    *, folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to.")], home: HomeOption = None
) -> None:
    """Write the whole ledger into a folder: every entry with its facts, and the newest checkpoint."""
    with open_vault(load_settings(home=home).home_folder) as vault, at_named_path():
        size = export_ledger(vault, folder)
    entries = number_of(size, "entry", "is", "are")
    say(f"{entries} in {folder}. Verify them anywhere with `shredvault ledger verify FOLDER --key …`.")


@ledger_app.command()
@described
def verify(
    *,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="An exported ledger; needs no vault, but --key.")
    ] = None,
    keys: _Key = None,
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere; as often as you like."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify the ledger: that nothing was edited, reordered, left out, cut off or written in two ways.

    Without a folder, what the bucket has is verified against the catalogue. What was cut off everywhere at once,
    by an older state that was put back, is only seen with a checkpoint that was kept elsewhere.
    Exit code 10: something is not as it should be.

    \b
    Examples:
      shredvault ledger verify --checkpoint from-the-city-clerk.txt
      shredvault ledger verify exported --key shredvault/5b…+1f…+AX…
    """  # noqa: D301
    if (folder is None) != (not keys):
        raise CommandError(ExitCode.USAGE, "A folder is verified with --key; a vault knows its key.")
    with at_named_path():
        notes = [read_note(path) for path in kept or ()]
    if folder is None:
        with open_vault(load_settings(home=home).home_folder) as vault:
            found = verify_vault(vault, notes)
    else:
        known = [named_key(text) for text in keys or ()]
        found = verify_folder(folder, known, vault_id_of(known[0]), notes)
    _tell(found, as_json=as_json)


def named_key(text: str) -> VerifierKey:
    """A verifier key as somebody typed it."""
    try:
        return VerifierKey.parse(text)
    except LedgerBrokenError as mistyped:
        raise CommandError(ExitCode.USAGE, str(mistyped)) from mistyped


def _tell(found: Verified, *, as_json: bool) -> None:
    if as_json:
        print_json({"size": found.size, "root": found.root.hex(), "kept_checkpoints": found.kept})
        return
    say(f"The ledger is whole: {found.size} entries, root {found.root.hex()}.")
    if found.kept:
        kept = number_of(found.kept, "checkpoint", "that was", "that were")
        say(f"It agrees with {kept} kept elsewhere.")
    else:
        say("No checkpoint from elsewhere was compared: that its end was not cut off, only such a one can show.")


@ledger_app.command()
@described
def witness(
    *,
    witness_key: Annotated[str, typer.Argument(metavar="KEY", help="The witness's key: name+id+key.")],
    home: HomeOption = None,
) -> None:
    """Name a witness: somebody outside who signs checkpoints, and keeps them."""
    known = named_key(witness_key)
    with open_vault(load_settings(home=home).home_folder) as vault:
        named = name_witness(vault, str(known))
    say(f"{named.name} is a witness of this ledger.")


@ledger_app.command()
@described
def cosigned(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint with the signatures of witnesses.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a checkpoint that witnesses have signed, after checking what they signed."""
    with at_named_path():
        signed = read_note(file)
    with open_vault(load_settings(home=home).home_folder) as vault:
        found = keep_cosigned(vault, signed)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        table(("witness", "signed"), [(one.witness, when(one.at)) for one in found])
