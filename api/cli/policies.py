"""`shredvault policy`: what the program's law is, in one document, and how another version comes into force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vault.canonical import encode
from vault.context import current_policy
from vault.destruction.drafting import Terms, draft_adoption
from vault.errors import HomeError, NotApprovedError, PolicyError
from vault.home import Home, open_vault
from vault.law.policy import Policy
from vault.orders import accept_order, adopt_policy, approvals_of, lacking_approvals
from vault.orders.actions import QUORUMS, STANDING, missing_places, spoken
from vault.orders.signatures import POLICIES

from .exits import CommandError, ExitCode
from .manual import described
from .orders import (
    CoolingOff,
    Days,
    LegalBasis,
    Reason,
    Signatures,
    read_file,
    read_signatures,
    tell_draft,
    write_document,
)
from .screen import facts, note, print_json, say
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["policy_app"]

policy_app = typer.Typer(no_args_is_help=True, help="The policy: draft a version, have it signed, put it in force.")

PolicyFile = Annotated[Path, typer.Argument(metavar="POLICY", help="The policy's file, as `policy draft` wrote it.")]


@policy_app.command("draft")
@described
def draft_command(
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the policy.")],
    changes: Annotated[
        Path | None,
        typer.Option("--with", metavar="FILE", help="JSON with the members that are to be different, people included."),
    ] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An OpenSSH allowed-signers file: which keys speak for whom.")
    ] = None,
    revoked_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public keys, one a line, that sign nothing any more.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write the next version of the policy: the one in force, with changes. Without a vault, a first version.

    The file has its one canonical form; do not edit it, draft it again. A first version is signed with
    `shredvault order sign` and given to `shredvault init`; a later one is adopted by an order, `policy propose`.

    \b
    Example:
      shredvault policy draft --out policy.json --with changes.json --allowed-signers signers
    """  # noqa: D301
    before = _in_force(home)
    content: dict[str, Any] = json.loads((before or Policy(1, "America/New_York")).encode())
    if before is not None:
        content["version"] += 1
    content |= _members(changes)
    for name, path in (("allowed_signers", allowed_signers), ("revoked_keys", revoked_keys)):
        if path is not None:
            content[name] = _text(path)
    content["people"] = sorted(content["people"], key=lambda one: str(one.get("person")) if one else "")
    policy = Policy.decode(encode(content))
    _tell(policy)
    _warn_of_empty_places(policy)
    write_document(out, policy.encode())
    say(f"Written to {out}, SHA-256 {policy.sha256}.")
    if policy.version == 1:
        say(f"Its approvers ({spoken(STANDING)}) each run, with a copy of that file:")
        say(f"  ssh-keygen -Y sign -n {POLICIES} -f KEY {out.name}")
        say(f"Then: shredvault init --policy {out} --approval SIGNATURE --approval SIGNATURE --approval SIGNATURE")
    else:
        say(f"Then: shredvault policy propose {out} --reason … --legal-basis …")


def _warn_of_empty_places(policy: Policy) -> None:
    """What nobody could sign: it is better known now than when time is SUSPECT and only an auditor can clear it."""
    for action, places in QUORUMS.items() if policy.people else ():
        if missing := missing_places(places, (person.name for person in policy.people), policy.people):
            note(f"Warning: nobody could sign an order to {action}; it lacks {spoken(missing)}.")


def _in_force(home: Path | None) -> Policy | None:
    folder = load_settings(home=home).home_folder
    try:
        Home.at(folder)
    except HomeError:
        return None
    with open_vault(folder) as vault, vault.catalogue.read() as tx:
        return current_policy(tx)


def _members(changes: Path | None) -> dict[str, Any]:
    if changes is None:
        return {}
    try:
        members = json.loads(_text(changes))
    except ValueError as broken:
        raise CommandError(ExitCode.USAGE, f"{changes} is not JSON: {broken}.") from broken
    known = set(json.loads(Policy(1, "UTC").encode())) - {"format", "version"}
    if not isinstance(members, dict) or not members.keys() <= known:
        message = f"{changes} must be an object with members of a policy: {', '.join(sorted(known))}."
        raise CommandError(ExitCode.USAGE, message)
    return members


def _text(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8")
    except UnicodeDecodeError as broken:
        raise CommandError(ExitCode.USAGE, f"The file {path} is not text.") from broken


@policy_app.command()
@described
def show(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the policy in force: who approved it, who may approve what, how long records are kept."""
    with open_vault(load_settings(home=home).home_folder) as vault, vault.catalogue.read() as tx:
        policy = current_policy(tx)
        approvals = approvals_of(tx, policy.version)
        lacking = lacking_approvals(tx)
    if as_json:
        approved = [{"person": one.person, "roles": one.roles, "key": one.key} for one in approvals]
        print_json({"policy": json.loads(policy.encode()), "sha256": policy.sha256, "approvals": approved})
        return
    _tell(policy)
    if approvals:
        facts([("approved by", f"{one.person} ({', '.join(one.roles)}), key {one.key}") for one in approvals])
    if lacking:
        say(str(NotApprovedError(lacking)))


@policy_app.command()
@described
def check(*, policy: PolicyFile) -> None:
    """Say in plain words what a policy says, and whether it is valid. Needs no vault."""
    _tell(Policy.decode(read_file(policy)))
    say("It is valid.")


@policy_app.command()
@described
def propose(
    *,
    policy: PolicyFile,
    reason: Reason,
    legal_basis: LegalBasis,
    days: Days = 14,
    cooling_off: CoolingOff = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it. [dim]Default order-….json, here.[/dim]")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the order by which a policy would come into force. It names the policy by its hash."""
    proposed = Policy.decode(read_file(policy))
    with open_vault(load_settings(home=home).home_folder) as vault:
        order = draft_adoption(vault, proposed, Terms(reason, legal_basis, days, cooling_off))
        tell_draft(vault, order, out, as_json=as_json, handed_in_by=f"policy adopt {policy}")


@policy_app.command()
@described
def adopt(
    *,
    policy: PolicyFile,
    order: Annotated[Path, typer.Argument(metavar="ORDER", help="The order to adopt it, from `policy propose`.")],
    signatures: Signatures = None,
    home: HomeOption = None,
) -> None:
    """Put a policy in force under its signed order.

    A shorter retention applies to all records at once: their due dates become the earlier ones. A longer one applies
    to what is filed from now on. Lists that were frozen under the version before are void.
    """
    document = read_file(policy)
    proposed = Policy.decode(document)
    with open_vault(load_settings(home=home).home_folder) as vault:
        with vault.catalogue.read() as tx:
            if current_policy(tx).version >= proposed.version:
                message = f"Version {proposed.version} is not newer than the policy in force."
                raise PolicyError(message)
        accepted = accept_order(vault, read_file(order), read_signatures(order, signatures), document=document)
        done = adopt_policy(vault, accepted.id, document)
    say(f"Version {done.policy.version} of the policy is in force; {done.shortened} records are due earlier.")


def _tell(policy: Policy) -> None:
    gone_by = f"{policy.gone_by.months_after_due} months after they are due"
    if policy.gone_by.end_of_quarter:
        gone_by = f"the end of the quarter in which they are due, {gone_by} at the latest"
    waits = ", ".join(f"{what} {hours} h" for what, hours in sorted(policy.cooling_off_hours.items()))
    facts(
        [
            ("policy", f"version {policy.version} of {policy.program}, mode {policy.mode}"),
            ("kept for", f"{policy.retention_months} months; the law's floor is {policy.floor_months}"),
            ("gone by", gone_by),
            ("given up", f"{policy.abandon_after_hours} hours after they were opened, when not completed"),
            ("time zone", policy.time_zone),
            ("cooling-off", waits or "none"),
            ("sunset", policy.sunset.deadline.isoformat() if policy.sunset else "none"),
            *(("person", f"{one.name}: {', '.join(sorted(one.roles))}") for one in policy.people),
        ]
    )
    if not policy.people:
        say("Nobody stands in it: under it nothing can be swept, and no order can be signed but one to adopt another.")
