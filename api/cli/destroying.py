"""`shredvault sweep`, `scrub`, `destroy` and `destruction`.

What destroys goes through `vault.destruction.carrying_out`, as everything does that can destroy a key. What is left to
this module is to name the authority: the standing policy, or an order that people signed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from vault.catalogue.destructions import Destruction
from vault.certificates import issue_missing
from vault.context import Vault, current_policy
from vault.destruction.carrying_out import carry_out, require_newest_keys
from vault.destruction.frozen_lists import (
    Forecast,
    KeysOnly,
    forecast,
    forecast_ordered,
    freeze_ordered,
    freeze_sunset,
    freeze_sweep,
)
from vault.destruction.moving import renew_masters
from vault.destruction.reclaim import reclaim
from vault.destruction.releasing import finish_endings
from vault.errors import NotApprovedError, NotFoundError
from vault.holds import copy_held_keys
from vault.home import Home, open_vault
from vault.ids import DestructionId
from vault.law.retention import Cause
from vault.orders import Action, lacking_approvals
from vault.serving.fences import Node
from vault.status import destruction_record, destructions, find_destruction, write_destruction_record
from vault.sunset.latching import tick
from vault.timekeeping import time_state
from vault.trees.ended import has_ended
from vault.wording import number_of

from .exits import CommandError, ExitCode, carrying_out
from .manual import described
from .renewing import renew_in_time
from .screen import (
    counting,
    facts,
    is_interactive,
    locked_objects,
    note,
    print_json,
    say,
    somebody,
    stepping,
    table,
    when,
)
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["destroy", "destruction_app", "scrub", "sweep"]

_WHY = {
    "due": "its retention date has come",
    "ordered": "no open hold protects it",
    "given up": "was opened and never completed",
    "held": "a hold protects it",
    "not eligible": "it may not be destroyed now",
    "receiving": "documents are still coming in",
    "gone": "destroyed by now",
}
_CALLED = {
    Cause.SWEEP: "A sweep",
    Cause.SCRUB: "A scrub",
    Cause.DESTROY: "This order",
    Cause.SUNSET: "The sunset",
}

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be destroyed and why; change nothing.")]
NoReclaim = Annotated[
    bool, typer.Option("--no-reclaim", help="Leave the destroyed records' space; `recover` frees it later.")
]


@described
def sweep(
    *, home: HomeOption = None, dry_run: DryRun = False, no_reclaim: NoReclaim = False, as_json: JsonOption = False
) -> None:
    """Destroy the records whose retention date has come and that no hold protects. For every night.

    After the deadline of a sunset it also destroys what that has left, as soon as no hold protects it.

    The authority is the standing policy, which its approvers have signed, so nothing is asked. What was observed is
    written down as a destruction record, also when nothing was due.

    \b
    Examples:
      shredvault sweep --dry-run
      shredvault sweep --json >> /var/log/sweeps.json
    """  # noqa: D301
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        seen = forecast(vault, Cause.SWEEP)
        if dry_run:
            _show_forecast(vault, seen, as_json=as_json)
            return
        require_newest_keys(vault)
        with vault.catalogue.read() as tx:
            version = current_policy(tx).version
        # S7: first of all, and in SUSPECT time too, for the custodian goes by its own clock.
        renew_in_time(vault, where, f"standing policy version {version}")
        for sentence in tick(vault):
            note(sentence)
        if has_ended(vault):
            # S7: until what the custodian ended at the deadline is recorded, nothing else can be done.
            note("The master key of the active tree ended with the deadline; the sunset is carried out first.")
            _destroy(vault, where, freeze_sunset(vault), no_reclaim, as_json)
        _follow_holds(vault, where)
        _destroy(vault, where, freeze_sweep(vault), no_reclaim, as_json)
        if "ordered" in forecast(vault, Cause.SUNSET).would_die:
            # S4: what has latched needs nobody's order; only a hold keeps a record from it.
            _destroy(vault, where, freeze_sunset(vault), no_reclaim, as_json)
        with carrying_out():
            renewed = renew_masters(vault, f"standing policy version {version}")
        for one in renewed:
            write_destruction_record(where.destructions, one)
            note(f"The master key of the {one.tree} tree was to end too soon or too late; it was replaced.")


OrderId = Annotated[
    str | None,
    typer.Argument(metavar="ORDER_ID", help="The order, as `shredvault order submit` accepted it."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. There is no undoing; look at --dry-run first.")]


def _follow_holds(vault: Vault, where: Home) -> None:
    """What holds need of every night: tails that are over end, and new captures get their copies."""
    with carrying_out():
        ended = finish_endings(vault)
    for one in ended:
        write_destruction_record(where.destructions, one)
        note(f"Hold {one.hold_id}: its tail is over; what only it protected falls under the old due dates again.")
    copy_held_keys(vault)


@described
def scrub(
    *,
    order_id: OrderId = None,
    home: HomeOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_reclaim: NoReclaim = False,
    as_json: JsonOption = False,
) -> None:
    """Destroy EVERY record that no hold protects, due or not, under a signed order. There is no undoing.

    What dies is the list that was frozen when the order was drafted, and not a record more: who is held by now is
    withdrawn, and who was filed since is not on it. You are asked to type a phrase with the number of records; without
    a terminal this command refuses, unless --yes is given. With --dry-run no order is needed.

    \b
    Examples:
      shredvault scrub --dry-run
      shredvault order draft scrub --reason "The program ends" --legal-basis "Local law 35 of 2015"
      shredvault scrub 5t2c7v9q1x8n3m4k6w0z2b5d7f
    """  # noqa: D301
    _under_order(Cause.SCRUB, order_id, home, dry_run, yes, no_reclaim, as_json)


@described
def destroy(
    *,
    order_id: OrderId = None,
    home: HomeOption = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_reclaim: NoReclaim = False,
    as_json: JsonOption = False,
) -> None:
    """Destroy the records that a signed order names: mis-scans, unlawful captures, accepted erasures.

    Three people sign: a records officer and two others. You are asked to type a phrase with the number of records;
    without a terminal this command refuses, unless --yes is given.

    \b
    Examples:
      shredvault order draft destroy 4n8m2k6q0w1x3z5v7t9r2p4m6k --reason "Scanned twice" --legal-basis "Schedule 12"
      shredvault destroy 5t2c7v9q1x8n3m4k6w0z2b5d7f --dry-run
    """  # noqa: D301
    _under_order(Cause.DESTROY, order_id, home, dry_run, yes, no_reclaim, as_json)


def _under_order(
    cause: Cause,
    order_id: str | None,
    home: Path | None,
    dry_run: bool,  # noqa: FBT001  # handed on, as what follows
    yes: bool,  # noqa: FBT001
    no_reclaim: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        if order_id is None and dry_run and cause is Cause.SCRUB:
            _show_forecast(vault, forecast(vault, cause), as_json=as_json)
            return
        if order_id is None:
            message = f"A {cause} needs an order; `shredvault order draft {cause}` writes one to be signed."
            raise CommandError(ExitCode.USAGE, message)
        seen = forecast_ordered(vault, order_id, Action(cause))
        if dry_run:
            _show_forecast(vault, seen, as_json=as_json)
            return
        if not yes and seen.would_die:
            _confirm(seen)
        require_newest_keys(vault)
        _destroy(vault, where, freeze_ordered(vault, order_id), no_reclaim, as_json)


def _confirm(seen: Forecast) -> None:
    if not is_interactive():
        message = "A destruction must be confirmed at a terminal, or with --yes. Nothing was destroyed."
        raise CommandError(ExitCode.NOT_CONFIRMED, message)
    count = sum(seen.would_die.values())
    records = number_of(count, "record")
    phrase = f"destroy {records}"
    note(f"This destroys up to {records} for ever. To go on, type: {phrase}")
    try:
        typed = input("> ")
    except EOFError:
        typed = ""
    if " ".join(typed.split()) != phrase:
        raise CommandError(ExitCode.NOT_CONFIRMED, "That is not the phrase. Nothing was destroyed.")


def _show_forecast(vault: Vault, seen: Forecast, *, as_json: bool) -> None:
    dies, lives = sum(seen.would_die.values()), sum(seen.would_live.values())
    if as_json:
        print_json(
            {
                "cause": seen.cause,
                "at_most": seen.blind,
                "dies": dies,
                "lives": lives,
                "would_die": seen.would_die,
                "would_live": seen.would_live,
            }
        )
        return
    rows = [("would be destroyed", count, _WHY[why]) for why, count in sorted(seen.would_die.items())]
    rows += [("would be kept", count, _WHY[why]) for why, count in sorted(seen.would_live.items())]
    if rows:
        table(("", "records", "because"), rows)
    refused = _refusals(vault, seen.cause)
    unless = ", if it were not refused" if refused else ""
    most = ("at most ", " or more") if seen.blind else ("", "")
    dead, kept = f"{most[0]}{number_of(dies, 'record')}", f"{lives}{most[1]}"
    say(f"{_CALLED[seen.cause]} now would destroy {dead} and keep {kept}{unless}. Nothing was changed.")
    if seen.blind:
        # H11: said always, for it must not depend on whether there is such a hold.
        note("Whom counsel alone knows to be held is not told apart here; if there is anybody, they are kept.")
    for sentence in refused:
        note(sentence)


def _refusals(vault: Vault, cause: Cause) -> list[str]:
    """Why nothing at all would be destroyed now, whatever is due."""
    with vault.catalogue.read() as tx:
        suspect = time_state(tx).suspect_since is not None
        lacking = lacking_approvals(tx) if cause is Cause.SWEEP else None
    found = ["The time is suspect, and nothing is destroyed until that is cleared: `shredvault time show`."] * suspect
    return found + ([str(NotApprovedError(lacking))] if lacking else [])


def _destroy(
    vault: Vault,
    where: Home,
    destruction_id: DestructionId,
    no_reclaim: bool,  # noqa: FBT001  # handed on
    as_json: bool,  # noqa: FBT001
) -> None:
    started = time.monotonic()
    with carrying_out(), stepping() as step:
        done = carry_out(vault, destruction_id, step)
    issue_missing(vault)
    seconds = time.monotonic() - started
    path = write_destruction_record(where.destructions, done)
    if not no_reclaim:
        with counting("records' space reclaimed", done.condemned) as counted:
            reclaim(vault, counted)
        done = find_destruction(vault, done.id)
        path = write_destruction_record(where.destructions, done)
    if as_json:
        print_json({**destruction_record(done), "path": path, "seconds": round(seconds, 3)})
        return
    say(f"{number_of(done.condemned or 0, 'record', 'was', 'were')} destroyed in {seconds:.2f} s.")
    _show(done, path)


def _show(done: Destruction, path: Path | None) -> None:
    not_listed = ", ".join(f"{count} {why}" for why, count in done.not_listed.items())
    gone = done.observed.get("old_master")
    pairs: list[tuple[str, object]] = [
        ("destruction", f"{done.id} ({done.kind})"),
        ("authority", done.authority),
        ("on the list", done.listed),
        ("withdrawn", f"{done.withdrawn} (a hold came in between)" if done.withdrawn else 0),
        ("passed over", not_listed or "none"),
        ("destroyed", _destroyed(done)),
        ("list frozen", when(done.frozen_at)),
        ("complete", _completion(done)),
    ]
    if gone:
        pairs.append(
            ("master key", f"{gone['state_read_back']}; refused {gone['refused_uses']} times of {gone['refused_uses']}")
        )
        pairs.append(("", gone["master"]))
    pairs.append(("reclaimed", _reclaim(done)))
    if path:
        pairs.append(("record", path))
    facts(pairs)


def _reclaim(done: Destruction) -> str:
    if done.reclaimed_at:
        return when(done.reclaimed_at)
    if done.freed_at:
        return f"all but {locked_objects(done.locked)}; their keys are gone all the same"
    return "not yet (no part of the promise)"


def _destroyed(done: Destruction) -> str:
    gone = (done.condemned or 0) if done.completed_at else 0
    if done.kind == KeysOnly.MOVE:
        return "the old master, no record"
    return f"{number_of(gone, 'copy')} of keys, no record" if done.hold_id is not None else number_of(gone, "record")


def _completion(done: Destruction) -> str:
    if done.abandoned_at:
        return f"undone {when(done.abandoned_at)}; nothing was destroyed"
    return when(done.completed_at) if done.completed_at else "no: run `shredvault recover`"


# --- shredvault destruction ---------------------------------------------------------------------------

destruction_app = typer.Typer(no_args_is_help=True, help="Look at destructions and what was observed of each.")


@destruction_app.command("list")
@described
def list_all(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all destructions, oldest first; releases of holds are among them."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        found = destructions(vault)
    if as_json:
        print_json([destruction_record(one) for one in found])
    elif found:
        rows = [(d.id, d.kind, d.listed, _destroyed(d), when(d.frozen_at), _completion(d)) for d in found]
        table(("destruction", "kind", "listed", "destroyed", "frozen", "complete"), rows)
    else:
        say("Nothing has been destroyed yet.")


@destruction_app.command()
@described
def show(
    *,
    destruction_id: Annotated[str, typer.Argument(metavar="ID", help="The destruction, from `destruction list`.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the record of one destruction: authority, counts, times, what was observed."""
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path) as vault:
        found = next((one for one in destructions(vault) if one.id == destruction_id), None)
    if found is None:
        message = "There is no such destruction; `shredvault destruction list` shows them."
        raise NotFoundError(message)
    path = where.destructions / f"{found.kind}-{found.id}.json"
    known_path = path if path.exists() else None
    if as_json:
        print_json({**destruction_record(found), "path": known_path})
        return
    _show(found, known_path)
    say("It cannot prove:")
    for sentence in destruction_record(found)["cannot_prove"]:
        say(f"  - {sentence}")
