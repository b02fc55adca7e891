"""`shredvault hold keygen` and `unseal`: counsel's key, and what was sealed to it (H11)."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vault.context import Vault, current_policy
from vault.holds import HoldLine, draw_key
from vault.holds import unseal as unseal_hold
from vault.holds.sealed import opens

from .exits import CommandError, ExitCode, at_named_path
from .manual import described
from .screen import facts, note, print_json, say
from .settings import JsonOption

__all__ = ["keygen", "opened", "unseal"]

FILE_BYTES_MAX: Final = 64 * 1024


@described
def keygen(
    *, out: Annotated[Path, typer.Option(metavar="FILE", help="Where the private key is written; the file is new.")]
) -> None:
    """Make counsel's pair of keys. The private one stays with counsel; the public one goes into the policy.

    It is printed as `counsel_seal`. Whoever loses the private key cannot read sealed holds; they protect all the same.
    """
    private, public = draw_key()
    with at_named_path():
        try:
            with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(private + "\n")
        except FileExistsError as there:
            raise CommandError(ExitCode.USAGE, "That file exists; a key is never written over another.") from there
    note("The private key is in the file, for counsel alone. This is `counsel_seal` for the policy:")
    say(public)


@described
def unseal(
    *,
    hold: Annotated[Path, typer.Argument(metavar="FILE", help="The hold as `GET /v1/holds/{id}` gave it: JSON.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Counsel's private key.")],
    as_json: JsonOption = False,
) -> None:
    """Open a sealed hold. Needs no vault: only the hold as it was given out to counsel, and counsel's key."""
    try:
        told = json.loads(_read(hold))
        vault_id, hold_id = bytes.fromhex(told["vault"]), str(told["id"])
        sealed = base64.b64decode(told["sealed"], validate=True)
    except (ValueError, KeyError, TypeError) as broken:
        raise CommandError(ExitCode.USAGE, "This is no sealed hold: JSON with id, vault and sealed.") from broken
    confidence = unseal_hold(_read(key), vault_id, hold_id, sealed)
    shown = {"authority": confidence.authority, "docket": confidence.docket, "reason": confidence.reason}
    if as_json:
        print_json({"id": hold_id, **shown})
    else:
        facts((name, value or "-") for name, value in shown.items())


def opened(vault: Vault, line: HoldLine, key: Path) -> dict[str, Any]:
    """What a seal hides, for whoever has counsel's key; nothing for a hold that has no seal.

    Raises:
        CommandError: the key is not the one in the policy.
        HoldRefusedError: it is no key, or the hold was sealed to an earlier one.
    """
    private = _read(key)
    with vault.catalogue.read() as tx:
        public = current_policy(tx).counsel_seal
    if public is None or not opens(private, public):
        raise CommandError(ExitCode.REFUSED, "This is not the private key of counsel's key in the policy.")
    if line.sealed is None:
        return {}
    confidence = unseal_hold(private, vault.vault_id, line.id, line.sealed)
    return {"authority": confidence.authority, "docket": confidence.docket, "reason": confidence.reason}


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(FILE_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as unreadable:
        raise CommandError(ExitCode.USAGE, f"This file cannot be read: {path}.") from unreadable
