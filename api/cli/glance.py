"""`shredvault status`: the vault at a glance."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from vault.alarms import alarms_of, spoken_alarms
from vault.frozen_lists import forecast
from vault.holds import attention as attention_of_holds
from vault.home import open_vault
from vault.retention import Cause
from vault.status import Status, locked_facts, status_of

from .exits import ExitCode
from .manual import described
from .screen import facts, locked_objects, note, print_json, say, somebody, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["status"]


@described
def status(
    *,
    home: HomeOption = None,
    check: Annotated[
        bool,
        typer.Option("--check", help=f"Exit with {ExitCode.ATTENTION} when something needs doing; for monitoring."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the vault at a glance: what it keeps, what is due, what is unfinished.

    With --check the exit code is 11 when records are due or overdue and not held, when time is suspect or a deadline
    in danger, when a destruction is unfinished or destroyed fewer records than were approved, when space of
    destroyed records was not reclaimed, or when a hold is past its end or its review; otherwise it is 0.
    """
    with open_vault(load_settings(home=home).home_folder, ask=somebody()) as vault:
        seen = status_of(vault)
        to_sweep = sum(forecast(vault, Cause.SWEEP).would_die.values())
        alarms, of_holds = alarms_of(vault), attention_of_holds(vault)
    attention = [*spoken_alarms(alarms), *_attention(seen, to_sweep), *of_holds]
    if as_json:
        report = {**asdict(seen), "locked": locked_facts(seen.locked), "to_sweep": to_sweep}
        print_json({**report, "alarms": asdict(alarms), "attention": attention})
    else:
        _show(seen, to_sweep)
        for sentence in attention:
            note(sentence)
    if check and attention:
        raise typer.Exit(ExitCode.ATTENTION)


def _attention(seen: Status, to_sweep: int) -> list[str]:
    found = []
    if to_sweep:
        found.append(f"{to_sweep} records are to be swept: run `shredvault sweep`.")
    if seen.unfinished_destructions:
        found.append("A destruction is unfinished: run `shredvault recover`.")
    if seen.not_executed:
        found.append(f"{seen.not_executed} records were approved for destruction and not destroyed: keys are missing.")
    if seen.to_reclaim:
        found.append("Space of destroyed records was not reclaimed: run `shredvault recover`.")
    return found


def _show(seen: Status, to_sweep: int) -> None:
    say(f"Vault {seen.vault_id}, {when(seen.now)}")
    states = ", ".join(f"{count} {state}" for state, count in sorted(seen.records.items()))
    facts(
        [
            ("records", states or "none yet"),
            ("documents", seen.documents),
            ("on hold", f"{seen.held} records under {seen.holds_in_force} holds"),
            ("to be swept", f"{to_sweep} now; next due date {seen.next_due or '-'} ({seen.time_zone})"),
            ("kept for", f"{seen.retention_months} months"),
            ("unfinished", f"{len(seen.unfinished_destructions)} destructions, {seen.to_reclaim} to reclaim"),
            *([("locked", locked_objects(seen.locked))] if seen.locked.count else []),
            ("keys", f"{seen.cohorts} cohorts, {seen.keystore_bytes:,} bytes, epochs {_epochs(seen)}"),
            ("master keys", ", ".join(f"{uri} ({kind})" for uri, kind in seen.custodians.items())),
        ]
    )


def _epochs(seen: Status) -> str:
    return ", ".join(f"{tree} {epoch}" for tree, epoch in seen.epochs.items())
