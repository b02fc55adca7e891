"""`shredvault access`: tokens for the HTTP service."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vault.access import Role, create_token, list_tokens, revoke_token
from vault.home import open_vault

from .manual import described
from .screen import note, print_json, say, table, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["access_app"]

access_app = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke the tokens with which centers and reviewers come in."
)


@access_app.command()
@described
def create(
    *,
    role: Annotated[
        Role,
        typer.Option(
            help="A center files, a reviewer reads; officials (counsel, records-officer, auditor) do neither."
        ),
    ],
    label: Annotated[str, typer.Option(help="Whose it is, in 1 to 80 characters.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token. It is shown once: the vault keeps only its hash.

    \b
    Example:
      shredvault access create --role center --label "Queens center"
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        token = create_token(vault, role, label)
    if as_json:
        print_json({"token": token, "role": role, "label": label})
        return
    note("This token is shown once and cannot be shown again; keep it like a password:")
    say(token)


@access_app.command("list")
@described
def list_all(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the tokens, revoked ones included; their secrets are nowhere."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        tokens = list_tokens(vault)
    if as_json:
        print_json([asdict(token) for token in tokens])
    elif tokens:
        rows = [(t.id, t.role, t.label, when(t.created_at), when(t.revoked_at)) for t in tokens]
        table(("id", "role", "label", "made", "revoked"), rows)
    else:
        say("There are no tokens yet.")


@access_app.command()
@described
def revoke(
    *,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, from `access list`.")],
    home: HomeOption = None,
) -> None:
    """Revoke a token, at once. Safe to repeat."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        revoke_token(vault, token_id)
    say("The token is revoked.")
