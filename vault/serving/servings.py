"""Servings: what `shredvault serve` notes when it begins and when it has ended, so that lost filings are found.

Filing writes no key page and no ledger entry, so a restored backup that lacks nothing but filings looks whole. But
records are filed during a serving only. It stands in the ledger before the first of them, and its end in the catalogue
after the last. So:

* a catalogue in which every serving has ended has every record, or it lacks a serving that is in the ledger
* one in which a serving has not ended was in use when that process or machine died, or when a backup was taken. It
  does not say which: so it is compared with all manifests in the bucket, once

A completion writes the manifest first and the catalogue afterwards. Where only the manifest is there, the center may
have heard of a completion that the catalogue lost. `settle_filings` makes it good, and gives out no slot again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa

from keystore import COHORT_SLOTS, SealBrokenError
from vault.catalogue import Catalogue, Transaction
from vault.catalogue.schema import cohorts, documents, journal, nodes, record_states, records
from vault.clocks.clock import Clock
from vault.context import Vault, note
from vault.errors import DestructionRefusedError, MasterGoneError
from vault.host.processes import Process
from vault.ledger.publishing import publish
from vault.objects import ObjectNotFound, ObjectStoreDenied
from vault.records.manifests import MANIFEST_LIMIT_BYTES, MANIFEST_PREFIX, Manifest
from vault.records.strangers import doubtful_manifests, opens_nothing
from vault.trees.ended import has_ended
from vault.trees.keyring import record_key

__all__ = ["begin_serving", "end_every_serving", "end_serving", "require_every_record", "settle_filings"]

_BEGAN: Final = "serving began"
_ENDED: Final = "serving ended"
_BATCH: Final = 1000


def begin_serving(vault: Vault, serving: str, supervisor: Process) -> None:
    """Note that records may be filed from now on. In the ledger when this returns.

    Args:
        vault: the vault.
        serving: a fresh id.
        supervisor: the process whose end is the end of all that file.

    Raises:
        OldCatalogueError: the bucket has other entries.
        ObjectStoreError, CatalogueError: a service failed; do not serve.
    """
    facts = asdict(supervisor) | {"incarnation": vault.catalogue.incarnation()}
    with vault.catalogue.write() as tx:
        note(tx, vault.clock.now(), _BEGAN, serving, facts)
    publish(vault)


def end_serving(catalogue: Catalogue, clock: Clock, serving: str) -> None:
    """Note that nothing is filed any more. Everybody who filed must have ended.

    Raises:
        CatalogueError: the database cannot be used now; then the next serving compares.
    """
    with catalogue.write() as tx:
        if serving in _unended(tx):
            note(tx, clock.now(), _ENDED, serving)


def end_every_serving(tx: Transaction, now: datetime) -> None:
    """Note, in a catalogue that has just been made from all manifests, that no serving needs to be asked about."""
    for serving in _unended(tx):
        note(tx, now, _ENDED, serving)


def require_every_record(vault: Vault) -> None:
    """Make sure that the catalogue has not lost filings. Costs a listing of all manifests, where there is a doubt.

    Raises:
        OldCatalogueError: it has lost some.
        DestructionRefusedError: completions were cut off, and are to be made good first.
        ObjectStoreError, CatalogueError: a service failed.
    """
    if not _is_in_doubt(vault):
        return
    message = (
        "The service did not end in order, and some completions were cut off. Nothing was changed; "
        "start `shredvault serve`, which makes them good, and try again."
    )
    try:
        found = any(True for _ in _cut_off(vault))
    except ObjectStoreDenied as not_ours:
        # A destroyer may read no manifest, and there is one to be looked at.
        raise DestructionRefusedError(message) from not_ours
    if found:
        raise DestructionRefusedError(message)


def settle_filings(vault: Vault) -> int:
    """What `serve` does before it files: with lost filings it refuses, and it makes good what was cut off.

    Returns how many completions were made good.

    Raises:
        OldCatalogueError: the catalogue has lost filings.
        KeystoreError, ObjectStoreError, VaultError: a service failed; run it again.
    """
    if not _is_in_doubt(vault):
        return 0
    made_good = sum(_complete(vault, manifest, tag) for manifest, tag in list(_cut_off(vault)))
    here = Process.this()
    with vault.catalogue.write() as tx:
        # Who was given a slot and is not known any more was not complete; the slot's key may have sealed its papers.
        tx.execute(
            sa.update(cohorts)
            .where(cohorts.c.closed_at.is_(None), cohorts.c.next_slot < COHORT_SLOTS)
            .values(next_slot=COHORT_SLOTS)
        )
        for serving, facts in _unended(tx).items():
            if _is_seen_ended(facts, here):
                note(tx, vault.clock.now(), _ENDED, serving)
    return made_good


def _unended(tx: Transaction) -> dict[str, Mapping[str, Any]]:
    query = sa.select(journal).where(journal.c.event.in_([_BEGAN, _ENDED])).order_by(journal.c.id)
    found: dict[str, Mapping[str, Any]] = {}
    for row in tx.execute(query):
        if row.event == _BEGAN:
            found[row.subject] = row.facts
        else:
            found.pop(row.subject, None)
    return found


def _is_in_doubt(vault: Vault) -> bool:
    """Whether a serving has not ended and nobody serves: who serves has asked this question before.

    Leases say little after a failover: they may have come over with a standby that lagged.
    """
    here = Process.this()
    mine = (nodes.c.boot == here.boot) & (nodes.c.pid == here.pid)
    with vault.catalogue.read() as tx:
        unended = _unended(tx)
        others = tx.execute(
            sa.select(sa.func.count()).select_from(nodes).where(~mine, nodes.c.lease_until > vault.clock.now())
        ).scalar_one()
    if not unended:
        return False
    incarnation = vault.catalogue.incarnation()
    return not others or any(facts["incarnation"] != incarnation for facts in unended.values())


def _is_seen_ended(facts: Mapping[str, Any], here: Process) -> bool:
    process = Process(facts["host"], facts["boot"], facts["pid"], facts["started"])
    return process.has_ended() if here.shares_machine(process) else process.host == here.host


def _cut_off(vault: Vault) -> Iterator[tuple[Manifest, bytes]]:
    """Manifests, with their tags, of records that are still receiving and have exactly these documents.

    Raises:
        OldCatalogueError: there is a manifest of a record or a document that the catalogue has lost.
    """
    every = vault.bucket.names(MANIFEST_PREFIX)
    while page := set(islice(every, _BATCH)):
        with vault.catalogue.read() as tx:
            doubtful = doubtful_manifests(tx, page)
        for name in sorted(doubtful):
            if opens_nothing(vault, name):
                continue
            try:
                manifest, tag = Manifest.decode(name, vault.bucket.get(name, limit=MANIFEST_LIMIT_BYTES))
            except (ObjectNotFound, SealBrokenError):
                continue
            with vault.catalogue.read() as tx:
                if _is_cut_off(tx, manifest):
                    yield manifest, tag


def _is_cut_off(tx: Transaction, manifest: Manifest) -> bool:
    # Only what a destroyer may see, too (infra/postgresql/roles.sql).
    state = tx.execute(sa.select(record_states.c.state).where(record_states.c.id == manifest.record)).scalar()
    filed = tx.execute(sa.select(documents.c.object_name).where(documents.c.record_id == manifest.record)).scalars()
    return state == "receiving" and set(filed) == {document.object_name for document in manifest.documents}


def _complete(vault: Vault, manifest: Manifest, tag: bytes) -> bool:
    try:
        fetched = record_key(vault, manifest.cohort, manifest.slot)
    except MasterGoneError:
        if not has_ended(vault):
            raise
        # S7: its key ended with the deadline; the sunset destroys the record.
        return False
    with fetched as key:
        if not manifest.is_tagged_by(key, vault.vault_id, tag):
            return False
    with vault.catalogue.write() as tx:
        if not _is_cut_off(tx, manifest):
            return False
        tx.execute(
            sa.update(records)
            .where(records.c.id == manifest.record)
            .values(completed_at=manifest.completed_at, due_on=manifest.due_on)
        )
    return True
