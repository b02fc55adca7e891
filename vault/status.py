"""The vault at a glance, and what a destruction's record says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from keystore import KeystoreError, MasterGoneError, Tree
from vault.catalogue import keys
from vault.catalogue.destructions import Destruction, list_destructions, load, unfinished, unreclaimed
from vault.catalogue.holding import holds, record_holds
from vault.catalogue.locked import Remaining, remaining
from vault.catalogue.schema import cohorts, documents, gone_records, record_states
from vault.certificates.facts import cannot_prove
from vault.clocks.clock import civil_date
from vault.context import Vault, current_policy
from vault.orders.adopting import lacking_approvals

__all__ = [
    "MISSING",
    "OUT_OF_REACH",
    "Status",
    "destruction_record",
    "destructions",
    "find_destruction",
    "locked_facts",
    "status_of",
    "write_destruction_record",
]


OUT_OF_REACH: Final = "out of reach"
MISSING: Final = "master key missing"
"""Said of a custodian in place of its assurance."""


@dataclass(frozen=True, slots=True)
class Status:
    """Counts and dates; nothing about any one record."""

    vault_id: str
    now: datetime
    time_zone: str
    retention_months: int
    policy_lacks: str | None
    """Who has not approved the policy in force; nothing is destroyed until they have."""
    records: dict[str, int]
    documents: int
    held: int
    holds_in_force: int
    next_due: str | None
    epochs: dict[str, int]
    cohorts: int
    keystore_bytes: int
    custodians: dict[str, str]
    """Where the current masters stand, and the kind of assurance there, or `OUT_OF_REACH`, or `MISSING`; two during a
    move."""
    custodian_troubles: dict[str, str]
    """Of each custodian that is out of reach, or has not the master in use: what it says."""
    not_executed: int
    """Approved for destruction, not withdrawn, and not destroyed: their keys are missing. The most of any one list,
    for the same records are on every list until somebody has looked into it."""
    unfinished_destructions: list[str]
    to_reclaim: int
    locked: Remaining
    """What object lock keeps in the bucket; of no use to anybody, and to be deleted when it is free."""


def status_of(vault: Vault) -> Status:
    """Look at the catalogue, and ask the custodians for the masters in use."""
    custodians, troubles = _look_at_custodians(vault)
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        policy = current_policy(tx)
        today = civil_date(now, policy.zone)
        states = {
            str(state): int(count)
            for state, count in tx.execute(
                sa.select(record_states.c.state, sa.func.count()).group_by(record_states.c.state)
            )
        }
        if gone := tx.execute(sa.select(sa.func.count()).select_from(gone_records)).scalar_one():
            states["destroyed"] = states.get("destroyed", 0) + gone
        # Sealed holds are in no count (H11).
        in_force = holds.c.released_at.is_(None) & holds.c.sealed.is_(None)
        held = tx.execute(
            sa.select(sa.func.count(sa.distinct(record_holds.c.record_id)))
            .join(holds, holds.c.id == record_holds.c.hold_id)
            .where(in_force)
        ).scalar_one()
        retained = record_states.c.state == "retained"
        next_due = tx.execute(
            sa.select(sa.func.min(record_states.c.due_on)).where(retained, record_states.c.due_on > today)
        ).scalar()
        return Status(
            vault_id=vault.vault_id.hex(),
            now=now,
            time_zone=policy.time_zone,
            retention_months=policy.retention_months,
            policy_lacks=lacking_approvals(tx),
            records=states,
            documents=tx.execute(sa.select(sa.func.count()).select_from(documents)).scalar_one(),
            held=held,
            holds_in_force=tx.execute(sa.select(sa.func.count()).select_from(holds).where(in_force)).scalar_one(),
            next_due=next_due.isoformat() if next_due else None,
            epochs={str(tree): keys.current_root(tx, tree).epoch for tree in Tree},
            cohorts=tx.execute(
                sa.select(sa.func.count()).select_from(cohorts).where(cohorts.c.condemned_by.is_(None))
            ).scalar_one(),
            keystore_bytes=sum(keys.page_bytes(tx, tree) for tree in Tree),
            custodians=custodians,
            custodian_troubles=troubles,
            not_executed=max((d.observed.get("not_executed", 0) for d in list_destructions(tx)), default=0),
            unfinished_destructions=[d.id for d in unfinished(tx)],
            to_reclaim=sum(destruction.freed_at is None for destruction in unreclaimed(tx)),
            locked=remaining(tx),
        )


def _look_at_custodians(vault: Vault) -> tuple[dict[str, str], dict[str, str]]:
    """Where the masters in use stand with the kind of assurance there, and what is wrong."""
    kinds: dict[str, str] = {}
    troubles: dict[str, str] = {}
    for tree in Tree:
        uri, kind, trouble = _ask_for_master(vault, tree)
        if uri not in troubles:
            kinds[uri] = kind
        if trouble:
            troubles.setdefault(uri, trouble)
    return kinds, troubles


def _ask_for_master(vault: Vault, tree: Tree) -> tuple[str, str, str | None]:
    """The custodian of a tree's master, and what it says when it is asked for it.

    To open a custodian proves little: some are sealed, or refuse, or have lost the master, and tell it only then.
    """
    missed = None
    while True:
        with vault.catalogue.read() as tx:
            master = keys.current_root(tx, tree).master
            uri, end = keys.custodian_address(tx, master), keys.planned_end(tx, master)
        try:
            custodian = vault.custody.at(uri)
            # One that is to have ended by now is no trouble: the alarms of the sunset speak of it.
            if end is None or vault.clock.now() < end:
                custodian.expires_at(master)
        except MasterGoneError as gone:
            if master == missed:
                return uri, MISSING, str(gone)
            # A destruction may have changed the tree just now.
            missed = master
        except KeystoreError as error:
            return uri, OUT_OF_REACH, str(error)
        else:
            return uri, custodian.assurance.kind, None


def destructions(vault: Vault) -> list[Destruction]:
    """All destructions, oldest first."""
    with vault.catalogue.read() as tx:
        return list_destructions(tx)


def find_destruction(vault: Vault, destruction_id: str) -> Destruction:
    """One destruction; it must exist."""
    with vault.catalogue.read() as tx:
        return load(tx, destruction_id)


def destruction_record(destruction: Destruction) -> dict[str, Any]:
    """What was observed of a destruction as far as it has come, for people and machines. `vault.certificates` signs."""
    observed = dict(destruction.observed)
    # A release destroys copies of keys in the held tree; the records live on.
    release = destruction.hold_id is not None
    gone = (destruction.condemned or 0) if destruction.completed_at else 0
    return {
        "format": "shredvault/destruction-record/v1",
        "id": destruction.id,
        "kind": destruction.kind,
        "authority": destruction.authority,
        "list_root": destruction.list_root.hex(),
        "counts": {
            "listed": destruction.listed,
            "withdrawn": destruction.withdrawn,
            "records_destroyed": 0 if release else gone,
            "held_key_copies_destroyed": gone if release else 0,
            "not_listed": destruction.not_listed,
        },
        "times": {
            step: at.isoformat() if (at := getattr(destruction, f"{step}_at")) else None
            for step in ("frozen", "condemned", "fenced", "completed", "freed", "reclaimed", "abandoned")
        },
        "reclaim": _reclaim_record(destruction),
        "masters": {"destroyed": destruction.old_master, "new": destruction.new_master},
        "observed": observed,
        "cannot_prove": cannot_prove(observed),
    }


def _reclaim_record(destruction: Destruction) -> dict[str, Any]:
    """How far the space is reclaimed, and what object lock retains."""
    state = "not yet"
    if destruction.freed_at is not None:
        state = "done" if destruction.reclaimed_at is not None else "all but what is locked"
    return {"state": state, "locked": locked_facts(destruction.locked)}


def locked_facts(locked: Remaining) -> dict[str, Any]:
    """What object lock retains, for machines. More than `LISTED_MAX` objects are counted, not listed."""
    return {
        "count": locked.count,
        "on_legal_hold": locked.on_legal_hold,
        "until": locked.until.isoformat() if locked.until else None,
        "objects": [
            {"name": at.name, "version": at.version_id, "until": at.until.isoformat() if at.until else "legal hold"}
            for at in locked.objects
        ],
    }


def write_destruction_record(folder: Path, destruction: Destruction) -> Path:
    """Write a destruction's record as JSON into a folder, whole or not at all; return its path."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{destruction.kind}-{destruction.id}.json"
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(destruction_record(destruction), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path
