"""`shredvault status`: the vault at a glance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from vault.alarms import alarms_of, spoken_alarms
from vault.context import Vault
from vault.destruction.frozen_lists import forecast
from vault.errors import DamagedError, OldCatalogueError
from vault.holds import attention as attention_of_holds
from vault.home import Home, open_vault
from vault.host.whole_files import write_text
from vault.law.retention import Cause
from vault.ledger.showing import checkpoint_at
from vault.ledger.verifying import read_note
from vault.ledger.watching import watch_ledger
from vault.status import MISSING, OUT_OF_REACH, Status, locked_facts, status_of
from vault.wording import number_of

from .exits import ExitCode
from .manual import described
from .screen import facts, locked_objects, note, print_json, say, somebody, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["status"]

LAST_CHECKPOINT: Final = "last-checkpoint"
"""In the home: the checkpoint of the ledger that `--check` saw last."""


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
    destroyed records was not reclaimed, when a custodian is out of reach, when a hold is past its end or its review,
    or when the catalogue is an old one. It is 10 when a master key in use is missing, or when the ledger is not what
    it was at the check before, or what a witness has signed. Otherwise it is 0.
    """
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault:
        seen = status_of(vault)
        ledger = _look_at_ledger(vault, where) if check else None
        to_sweep = sum(forecast(vault, Cause.SWEEP).would_die.values())
        alarms, of_holds = alarms_of(vault), attention_of_holds(vault)
    of_ledger = [ledger.trouble] if ledger and ledger.trouble else []
    is_old = bool(ledger and ledger.is_old)
    attention = [*of_ledger, *spoken_alarms(alarms), *_attention(seen, to_sweep, is_old=is_old), *of_holds]
    if as_json:
        report = {**asdict(seen), "locked": locked_facts(seen.locked), "to_sweep": to_sweep}
        if ledger:
            report["ledger"] = {"agrees": ledger.trouble is None, "size": ledger.size}
        print_json({**report, "alarms": asdict(alarms), "attention": attention})
    else:
        _show(seen, to_sweep, ledger)
        for sentence in attention:
            note(sentence)
    if check and attention:
        raise typer.Exit(ExitCode.INCIDENT if _is_incident(seen, ledger) else ExitCode.ATTENTION)


def _is_incident(seen: Status, ledger: _Ledger | None) -> bool:
    if ledger and (ledger.is_incident or ledger.is_old):
        return ledger.is_incident
    return MISSING in seen.custodians.values()


@dataclass(frozen=True, slots=True)
class _Ledger:
    size: int | None
    trouble: str | None
    is_incident: bool
    is_old: bool = False
    """The catalogue is: it takes a master for the present one that is destroyed, as it must be."""


def _look_at_ledger(vault: Vault, where: Home) -> _Ledger:
    """Compare the ledger with the checkpoint that the last check left in the home, and leave the present one."""
    path = where.path / LAST_CHECKPOINT
    try:
        size = watch_ledger(vault, [read_note(path)] if path.exists() else []).size
    except OldCatalogueError as old:
        return _Ledger(None, str(old), is_incident=False, is_old=True)
    except DamagedError as broken:
        return _Ledger(None, f"THE LEDGER IS NOT WHAT IT WAS. {broken} `shredvault ledger verify`.", is_incident=True)
    write_text(path, checkpoint_at(vault, size))
    return _Ledger(size, None, is_incident=False)


def _attention(seen: Status, to_sweep: int, *, is_old: bool) -> list[str]:
    found = []
    for uri, why in seen.custodian_troubles.items():
        if seen.custodians[uri] == OUT_OF_REACH:
            found.append(f"The custodian {uri} is out of reach: nothing can be filed, read or destroyed. {why}")
        elif not is_old:
            found.append(
                f"A MASTER KEY IN USE IS MISSING at {uri}. {why} See first that it is the right disk, token or server, "
                "and that the catalogue is no old one: `shredvault status --check`."
            )
    if to_sweep:
        found.append(f"{number_of(to_sweep, 'record', 'is', 'are')} to be swept: run `shredvault sweep`.")
    if seen.unfinished_destructions:
        found.append("A destruction is unfinished: run `shredvault recover`.")
    if seen.not_executed:
        not_executed = number_of(seen.not_executed, "record", "was", "were")
        found.append(f"{not_executed} approved for destruction and not destroyed: keys are missing.")
    if seen.to_reclaim:
        found.append("Space of destroyed records was not reclaimed: run `shredvault recover`.")
    return found


def _show(seen: Status, to_sweep: int, ledger: _Ledger | None) -> None:
    say(f"Vault {seen.vault_id}, {when(seen.now)}")
    states = ", ".join(f"{count} {state}" for state, count in sorted(seen.records.items()))
    entries = number_of(ledger.size, "entry") if ledger and ledger.size else None
    unfinished = number_of(len(seen.unfinished_destructions), "destruction")
    facts(
        [
            ("records", states or "none yet"),
            ("documents", seen.documents),
            ("on hold", f"{number_of(seen.held, 'record')} under {number_of(seen.holds_in_force, 'hold')}"),
            ("to be swept", f"{to_sweep} now; next due date {seen.next_due or '-'} ({seen.time_zone})"),
            ("kept for", f"{seen.retention_months} months"),
            ("policy", _approval(seen)),
            ("unfinished", f"{unfinished}, {seen.to_reclaim} to reclaim"),
            *([("locked", locked_objects(seen.locked))] if seen.locked.count else []),
            ("keys", f"{number_of(seen.cohorts, 'cohort')}, {seen.keystore_bytes:,} bytes, epochs {_epochs(seen)}"),
            *([("ledger", f"{entries}, as before and as in the bucket")] if entries else []),
            ("master keys", ", ".join(f"{uri} ({kind})" for uri, kind in seen.custodians.items())),
        ]
    )


def _approval(seen: Status) -> str:
    if seen.policy_lacks is None:
        return "approved"
    return f"not approved by {seen.policy_lacks}: nothing is destroyed"


def _epochs(seen: Status) -> str:
    return ", ".join(f"{tree} {epoch}" for tree, epoch in seen.epochs.items())
