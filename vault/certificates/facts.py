"""What a certificate says: facts of one completed destruction, computed from what was observed, never from intent.

Field names follow NIST SP 800-88 Rev. 2, section 4.6, where it has them. Everything is text, a whole number or an
instant in UTC, so that the certificate has one canonical text (`vault.canonical`) that is signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

import sqlalchemy as sa

from vault.catalogue import Transaction
from vault.catalogue.destructions import Destruction
from vault.catalogue.schema import masters, policies
from vault.clocks.clock import civil_date
from vault.destruction.overdue import last_day as last_day_of
from vault.law.policy import Policy
from vault.law.retention import Cause
from vault.orders import load_order
from vault.orders.adopting import approvals_of
from vault.orders.signatures import ORDERS, POLICIES
from vault.software import software_version
from vault.sunset.latched import authority_of
from vault.wording import number_of

from .observations import Dates, dates_of, failures, told
from .reasons import holds_past

__all__ = ["CERTIFICATE", "REHEARSAL", "cannot_prove", "certificate_facts"]

CERTIFICATE: Final = "shredvault/certificate/v1"
REHEARSAL: Final = "shredvault/rehearsal-certificate/v1"
"""A rehearsal's paper has another format name and another key: nothing can make a certificate of it."""
_OUTSIDE: Final = (
    "That there are no copies outside the vault, as on a scanner's disk or in a download by an authorised reader.",
    "That nobody copied both the data and the old master key before this destruction was complete.",
    "That no hypervisor or debugger took a snapshot of the service's memory while it held the keys.",
    "That nothing stays visible: the number of records, padded sizes, and the times of filing and destruction do.",
)
_NOT_RECORDED: Final = (
    "manufacturer, model, serial number: the media are services of which only a key was sanitized",
    "pre-sanitization confidentiality categorization",
    "name, title, location, contact and signature of who verified and validated: the paper has places for them",
)
"""Fields of the same section, which a certificate of a key's death has not."""
_WHY: Final = {
    "held": "held: a hold protects what it names",
    "not eligible": "kept: it may not be destroyed now",
    "receiving": "kept: documents were still coming in",
}


def certificate_facts(
    tx: Transaction, vault_id: bytes, destruction: Destruction, ledger: Mapping[str, Any], issued_at: datetime
) -> dict[str, Any]:
    """The certificate's content, for a destruction of which everything was observed.

    Args:
        tx: the state to read it from.
        vault_id: whose certificate it is.
        destruction: complete; see `require_observed`.
        ledger: where its entries stand in the log, with their proofs.
        issued_at: the certificate's own instant.

    Raises:
        CertificateRefusedError: an observation is missing.
    """
    assert destruction.completed_at is not None
    assert destruction.condemned is not None
    row = tx.execute(sa.select(policies.c.document).where(policies.c.version == destruction.policy_version))
    policy = Policy.decode(row.scalar_one())
    dates = dates_of(tx, destruction, policy)
    completed_on = civil_date(destruction.completed_at, policy.zone)
    failed = failures(destruction)
    readings = dict(destruction.observed.get("time_sources", {}))
    return {
        "id": destruction.id,
        "kind": destruction.kind,
        "program": {"name": policy.program, "vault": vault_id.hex(), "time_zone": policy.time_zone},
        "sanitization": _sanitization(destruction, completed_on),
        "authority": _authority(tx, destruction, policy),
        "list_root": destruction.list_root.hex(),
        "counts": {
            "listed": destruction.listed,
            "destroyed": destruction.condemned,
            "withdrawn": destruction.withdrawn - failed,
            "held_out": destruction.not_listed.get("held", 0),
            "pending": destruction.listed - destruction.condemned - destruction.withdrawn,
            "failed": failed,
        },
        "dates": told(dates),
        "overdue_days": _overdue_days(dates, completed_on),
        "deadline": _deadline(tx, destruction, policy, dates, completed_on),
        "times": {
            "started_at": destruction.frozen_at.isoformat(),
            **{step: _instant(getattr(destruction, step)) for step in ("condemned_at", "fenced_at", "completed_at")},
            "issued_at": issued_at.isoformat(),
            # Of an empty list nothing was condemned, so nobody compared the clocks for it.
            "sources": sorted(readings) or ["system clock of the vault's host"],
            "readings": readings,
        },
        "keys": _keys(tx, destruction),
        "verification": _verification(destruction),
        "reclaim": {
            "state": "done" if destruction.reclaimed_at else "partly" if destruction.freed_at else "not yet",
            "note": "Deleting the sealed remains frees space and is no part of the destruction: they open no more.",
        },
        "ledger": dict(ledger),
        "not_destroyed": _not_destroyed(destruction),
        "cannot_prove": cannot_prove(destruction.observed),
    }


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _sanitization(destruction: Destruction, completed_on: date) -> dict[str, Any]:
    """The fields of NIST SP 800-88 Rev. 2, section 4.6, under its names, and which of them are not recorded here."""
    kind = destruction.observed.get("assurance", {}).get("kind")
    claims = (
        "Purge, on the custodian's word"
        if kind in ("hardware", "service")
        else "none claimed: the custodian is software, and promises nothing about old disk blocks"
    )
    return {
        "media_property_number": destruction.old_master or "none: the list was empty",
        "media_type": "sealed objects and key pages in an object store; a master key at a custodian",
        "media_source": "the vault named under program",
        "sanitization_technique": "Cryptographic Erase" if destruction.condemned else "none: the list was empty",
        "sanitization_method": claims if destruction.condemned else "none: the list was empty",
        "tool_used": f"Shredvault {software_version()}",
        "verification_method": "state read back from the custodian, and attempts to use the old master key",
        "verification_date": completed_on.isoformat(),
        "sanitization_date": completed_on.isoformat(),
        "not_recorded": list(_NOT_RECORDED),
    }


def _authority(tx: Transaction, destruction: Destruction, policy: Policy) -> dict[str, Any]:
    """Under what it was done, what exactly was signed for it, and the signatures."""
    adopted_by = tx.execute(sa.select(policies.c.order_id).where(policies.c.version == policy.version)).scalar_one()
    order_id = destruction.order_id or adopted_by
    if order_id is not None:
        order = load_order(tx, order_id)
        namespace, body, approvals = ORDERS, order.body, order.approvals
    else:
        namespace, body, approvals = POLICIES, policy.encode(), approvals_of(tx, policy.version)
    return {
        "text": destruction.authority,
        "order": destruction.order_id,
        "policy_version": policy.version,
        "policy_sha256": policy.sha256,
        "signed": {"namespace": namespace, "body": body.decode("utf-8")},
        "approvers": [one.encode() for one in approvals],
    }


def _overdue_days(dates: Dates | None, completed_on: date) -> int | None:
    if dates is None or dates.due_first is None:
        return None
    return max(0, (completed_on - dates.due_first).days)


def _deadline(
    tx: Transaction, destruction: Destruction, policy: Policy, dates: Dates | None, completed_on: date
) -> dict[str, Any] | None:
    """By when it had to be complete (T4), whether it was, and why not; None where the policy names no day for it."""
    latched = authority_of(tx, destruction.frozen_at) if destruction.kind == Cause.SUNSET else None
    if latched is not None:
        last_day, source = latched.deadline, "the sunset's deadline"
    elif destruction.kind == Cause.SCRUB and policy.sunset is not None:
        last_day, source = policy.sunset.deadline, "the sunset's deadline"
    elif destruction.kind == Cause.SWEEP and dates is not None and dates.due_first is not None:
        last_day, source = last_day_of(dates.due_first, policy.gone_by), "the day by which due records must be gone"
    else:
        return None
    met = completed_on <= last_day
    why = "It was met."
    if not met:
        kept = holds_past(tx, destruction, last_day, completed_on, policy)
        why = (
            f"Records were held past it: {', '.join(kept)}."
            if kept
            else "No hold that may be named explains it; the records officer must."
        )
    if (ended := destruction.observed.get("ended_by_custodian_at")) is not None:
        why += f" The custodian had been told to destroy the master key by itself at {ended}; later it was found gone."
    return {"what": source, "last_day": last_day.isoformat(), "met": met, "why": why}


def _keys(tx: Transaction, destruction: Destruction) -> dict[str, Any] | None:
    """Which master died and which follows; None where the list was empty and no key had to die."""
    if destruction.old_master is None or destruction.new_master is None:
        return None
    epochs = {
        row.name: row.epoch
        for row in tx.execute(
            sa.select(masters.c.name, masters.c.epoch).where(
                masters.c.name.in_([destruction.old_master, destruction.new_master])
            )
        )
    }
    return {
        "tree": str(destruction.tree),
        "old_master": destruction.old_master,
        "old_epoch": epochs[destruction.old_master],
        "new_master": destruction.new_master,
        "new_epoch": epochs[destruction.new_master],
        "custodian": destruction.observed["old_master"]["custodian"],
        "assurance": destruction.observed["assurance"],
    }


def _verification(destruction: Destruction) -> dict[str, Any] | None:
    seen = destruction.observed
    if "old_master" not in seen:
        return None
    return {
        "state_read_back": seen["old_master"]["state_read_back"],
        "refused_uses": seen["old_master"]["refused_uses"],
        "key_graph": seen["graph"],
        "processes": {name.removeprefix("nodes_"): count for name, count in seen.items() if name.startswith("nodes_")},
    }


def _not_destroyed(destruction: Destruction) -> list[str]:
    """What lives on, in plain words."""
    told = [
        f"{number_of(count, 'record')} {_WHY.get(why, f'kept: {why}')}."
        for why, count in sorted(destruction.not_listed.items())
    ]
    if failed := failures(destruction):
        records = number_of(failed, "record", "was", "were")
        told.append(
            f"{records} on the list and not destroyed: no key was found for what is stored. This is an incident."
        )
    if destruction.withdrawn > failed:
        withdrawn = number_of(destruction.withdrawn - failed, "record")
        told.append(f"{withdrawn} withdrawn from the list: held, or not due, when it came to them.")
    return [*told, "Every record that was filed after the list was frozen.", "Whatever is kept outside this vault."]


def cannot_prove(observed: Mapping[str, Any]) -> list[str]:
    """What no observation of a destruction can show, in sentences for people."""
    count = observed.get("nodes_presumed_dead", 0)
    if not count:
        return list(_OUTSIDE)
    silent = (
        f"That {count} process(es) of the vault, out of reach and silent past their lease, have ended: "
        "whoever stopped them may still have old keys in their memory."
    )
    return [silent, *_OUTSIDE]
