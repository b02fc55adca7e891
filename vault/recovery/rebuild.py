"""Rebuilds a catalogue from the bucket and the custodians alone, after its loss or the return of an old backup.

What was condemned stays dead: it is carried over nowhere, and dies with the masters that stood when the catalogue was
lost. It is known for destroyed by the lists in the bucket. Everything else that has a manifest lives on, under fresh
masters; holds are in force again. Records that were not complete are lost with the catalogue: their papers are still
at the center, and must be filed again.

1. read ledger, packs and manifests (`vault.recovery.salvage`)
2. make fresh masters; stage both trees under them, mirror, read back, compare every key
3. fill an empty catalogue in one transaction
4. the caller puts it in place; then `recover` destroys every older master

Until 4 nothing is destroyed and nothing old is changed, so a rebuild that is cut off is begun again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from keystore import (
    INDEX_SLOT,
    NO_SLOT,
    KeyGraphError,
    MasterExistsError,
    OpenTree,
    Rewrite,
    StagedTree,
    Tree,
    TreeChange,
    stage,
)
from vault.context import Vault, note
from vault.errors import DamagedError, DestructionRefusedError
from vault.ids import DestructionId, RecordId
from vault.ledger.publishing import publish
from vault.serving.servings import end_every_serving
from vault.trees import mirror
from vault.wording import number_of

from .recognising import Known, require_ours
from .refilling import fill_catalogue
from .salvage import Found, History, ReachableKeys, find_records, read_history

__all__ = ["Rebuilt", "rebuild"]

_VERSIONS_SKIPPED: Final = 1024
"""A process that still runs on the lost catalogue may hold some of the numbers after the last pack's."""
_NOTHING: Final = Known()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found."""

    records: int
    held: int
    condemned: int
    holds_in_force: int
    lost: list[RecordId]
    """Records without a key or without a manifest, though nothing condemned them: an incident."""
    gone: int
    """Records that are known for destroyed by the lists in the bucket alone."""
    unlisted: list[DestructionId]
    """Destructions whose list is missing or damaged: what was reclaimed of them is unknown from here on."""


def rebuild(
    vault: Vault,
    custodian_uris: Sequence[str],
    tokens: Sequence[Mapping[str, Any]] = (),
    *,
    leave_lost: bool = False,
    retained: Mapping[RecordId, tuple[int, int]] | None = None,
    known: Known = _NOTHING,
    unasked: bool = False,
) -> Rebuilt:
    """Fill the empty catalogue of `vault` from its bucket and its custodians.

    Args:
        vault: with an empty, migrated catalogue. No other process may use the vault.
        custodian_uris: every custodian at which its masters may stand; new ones are made at the first.
        tokens: rows of access tokens from an older catalogue; what the ledger says was revoked is revoked.
        leave_lost: go on though records have lost their keys or their manifests.
        retained: cohort and slot of the records that an older catalogue has as retained: those that nothing condemned
            since, and that have no manifest any more, are lost.
        known: what is known of the ledger from elsewhere than the bucket.
        unasked: nobody has asked for it; then no key that opens a record may die in it.

    Raises:
        DamagedError: the ledger is damaged, or records are lost and `leave_lost` is not set.
        DestructionRefusedError: nothing says which key is the ledger's; or, unasked, a key that opens a record would
            die.
        KeyGraphError: the new trees, as read back, do not hold every living key.
        CustodianError, ObjectStoreError, CatalogueError: a service failed; run it again.
    """
    history = read_history(vault.bucket, vault.vault_id)
    require_ours(history, vault.signing.verifier, known)
    reachable = ReachableKeys(vault.bucket, vault.vault_id, {uri: vault.custody.at(uri) for uri in custodian_uris})
    with ExitStack() as owned:
        owned.callback(reachable.close)
        found = find_records(vault.bucket, vault.vault_id, history, reachable)
        for _, key in found.living:
            owned.callback(key.wipe)
        if found.lost and not leave_lost:
            lost = number_of(len(found.lost), "record", "has", "have")
            message = (
                f"{lost} a manifest and no key that opens it, though no destruction condemned them. See that all "
                "custodians in vault.json are in reach, keys and all; if those are lost, go on with --leave-lost."
            )
            raise DamagedError(message)
        missing = _missing(history, found, retained or {})
        if unasked:
            _require_no_death(history, reachable, len(missing))
        if missing and not leave_lost:
            gone = number_of(len(missing), "record", "has", "have")
            message = (
                f"{gone} no manifest in the bucket any more, though the old catalogue has them as retained and no "
                "destruction condemned them. Their keys would die. Bring the objects under records/ back from their "
                "older versions; if they are lost, go on with --leave-lost."
            )
            raise DamagedError(message)
        found.lost += missing
        held = _held(history, found)
        rebuild_id = _name(vault.vault_id, history.mark.last, custodian_uris[0])
        staged = {tree: _stage(vault, tree, rebuild_id, custodian_uris[0], reachable, found, held) for tree in Tree}
        now = vault.clock.now()
        with vault.catalogue.write() as tx:
            fill_catalogue(tx, vault, history, reachable, found, staged, tokens, custodian_uris[0], now)
            facts = {
                "custodian": custodian_uris[0],
                "masters": [one.root.master for one in staged.values()],
                "records": len(found.living),
                "lost": len(found.lost),
                "unlisted": list(found.unlisted),
                "log_key": str(vault.signing.verifier),
            }
            note(tx, now, "rebuilt", rebuild_id, facts)
            end_every_serving(tx, now)
    publish(vault)
    # What is told counts no sealed hold (H11).
    openly = [hold for hold in history.holds.values() if hold.released_at is None and hold.row["sealed"] is None]
    named = set().union(*(hold.named for hold in openly))
    told = sum(manifest.record in named for manifest, _ in found.living)
    return Rebuilt(len(found.living), told, len(found.dead), len(openly), found.lost, len(found.gone), found.unlisted)


def _name(vault_id: bytes, last: int, custodian_uri: str) -> str:
    """By where the ledger ends: a rebuild that was cut off is begun again with the masters it had made.

    And by the custodian: begun again at another one, it has its own, and the first ones are known for orphans by the
    packs under them. By the same name they would be taken for each other.
    """
    where = hashlib.sha256(custodian_uri.encode()).hexdigest()[:8]
    return f"{vault_id.hex()[:16]}-{last:x}-{where}"


def _missing(history: History, found: Found, retained: Mapping[RecordId, tuple[int, int]]) -> list[RecordId]:
    """Records that are to live, and of which the bucket has nothing: whoever deletes a manifest condemns nobody."""
    known = {manifest.record for manifest, _ in found.living} | set(found.lost)
    return [record for record, at in retained.items() if record not in known and history.condemned_by(*at) is None]


def _require_no_death(history: History, reachable: ReachableKeys, missing: int) -> None:
    condemned = sum(
        reachable.reaches(cohort, slots)
        for one in history.destructions_of_records()
        for cohort, slots in one.slots.items()
    )
    if condemned or missing:
        message = (
            f"By the bucket, {condemned} condemned records have keys that are still to be destroyed, and {missing} "
            "records of this catalogue are missing. Nothing was changed. Find out why; `shredvault rebuild` goes by "
            "what the bucket says."
        )
        raise DestructionRefusedError(message)


def _held(history: History, found: Found) -> set[RecordId]:
    """The living that some hold names. Whom a rule matches is copied by the next start, as new captures are."""
    named = {record for hold in history.holds.values() for record in hold.named}
    return {manifest.record for manifest, _ in found.living if manifest.record in named}


def _stage(
    vault: Vault,
    tree: Tree,
    rebuild_id: str,
    custodian_uri: str,
    reachable: ReachableKeys,
    found: Found,
    held: set[RecordId],
) -> StagedTree:
    custodian = vault.custody.at(custodian_uri)
    master = f"{tree}-{rebuild_id}"
    with suppress(MasterExistsError):
        custodian.create(master)
    put: dict[int, dict[int, Any]] = {}
    for manifest, key in found.living:
        if tree is Tree.ACTIVE or manifest.record in held:
            put.setdefault(manifest.cohort, {})[manifest.slot] = key
    with ExitStack() as owned:
        if tree is Tree.ACTIVE:
            for cohort, slots in put.items():
                index = reachable.index_key(cohort)
                if index is not None:
                    slots[INDEX_SLOT] = owned.enter_context(index)
        staged = stage(
            vault.vault_id,
            None,
            TreeChange(rewritten={cohort: Rewrite(NO_SLOT, slots) for cohort, slots in put.items()}),
            _no_page,
            tree=tree,
            epoch=reachable.epochs[tree] + 1,
            version=reachable.versions[tree] + _VERSIONS_SKIPPED,
            master=master,
            custodian=custodian,
        )
        mirror.write(vault.bucket, vault.vault_id, staged, {})
        vault.settle()
        seen = mirror.read_back(vault.bucket, vault.vault_id, tree, staged.root.version)
        pages = {page.cohort: page for page in seen.pages}
        with OpenTree.open(vault.vault_id, seen.root, custodian) as opened:
            for cohort, slots in put.items():
                with opened.page(pages[cohort]) as page:
                    for slot, key in slots.items():
                        with page.key(slot) as there:
                            if not there.same_as(key):
                                message = "The rebuilt key tree, as read back, is not what was written."
                                raise KeyGraphError(message)
    return staged


def _no_page(cohort: int) -> Any:
    raise KeyError(cohort)
