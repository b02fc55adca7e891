"""Puts a rebuilt catalogue in the place of the lost or old one: on somebody's word, or unasked when `serve` starts.

Unasked, nobody has looked at why the catalogue is an old one; somebody who can write to the bucket may have made it
look so. Therefore no key that opens a record dies in it: whoever the ledger has as condemned must be out of every
living master's reach before, and whoever the old catalogue has as retained must live on. Else it is left to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from keystore import Ask
from vault.catalogue import Catalogue
from vault.catalogue.schema import access_tokens, record_states
from vault.clocks.clock import Clock
from vault.destruction.carrying_out import Recovered, recover_destructions
from vault.destruction.exclusion import alone
from vault.errors import CatalogueError, HomeError, VaultError
from vault.home import CATALOGUE, Home, open_for_rebuild, open_vault
from vault.ids import RecordId
from vault.ledger.publishing import Mark, published_mark
from vault.ledger.verifying import named_keys
from vault.log.notes import VerifierKey

from .rebuild import Rebuilt, rebuild
from .recognising import Known

__all__ = ["Replaced", "can_replace_unasked", "replace_catalogue"]


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of a home's catalogue."""

    rebuilt: Rebuilt
    recovered: Recovered
    tokens: int | None
    """Access tokens that were taken over; None where the old catalogue is lost, unreadable or elsewhere."""


@dataclass(frozen=True, slots=True)
class _Old:
    tokens: list[dict[str, Any]]
    retained: dict[RecordId, tuple[int, int]]
    """Its retained records, with cohort and slot."""
    published: Mark
    log_keys: list[VerifierKey]


def can_replace_unasked(home: Home) -> bool:
    """Whether the catalogue is this home's own, and there: what stands on a server others may be using."""
    return "database" not in home.settings and (home.path / CATALOGUE).exists()


def replace_catalogue(
    home: Home,
    clock: Clock | None = None,
    *,
    endpoint: str | None = None,
    leave_lost: bool = False,
    unasked: bool = False,
    ask: Ask | None = None,
    ledger_key: VerifierKey | None = None,
    kept: Sequence[str] = (),
) -> Replaced:
    """Rebuild the catalogue of a home, put it in place, and destroy all older masters.

    Args:
        home: nobody else may use it.
        clock: the machine's, if not given.
        endpoint: of its embedded object store, where the caller runs it.
        leave_lost: go on though records have lost their keys or their manifests.
        unasked: nobody has asked for it; see above.
        ask: see `open_vault`.
        ledger_key: whose signature the ledger must bear, by a person's word.
        kept: checkpoints of the ledger that were kept elsewhere.

    Raises:
        HomeError: the database named in the settings is not empty; or, unasked, the old catalogue cannot be read.
        DestructionRefusedError: nothing says which key is the ledger's; or, unasked, it would cost a key that opens a
            record.
        DamagedError, KeyGraphError, CustodianError, ObjectStoreError, CatalogueError: see `rebuild`.
    """
    old = _read_old(home)
    if unasked and old is None:
        message = "The old catalogue cannot be read; `shredvault rebuild` makes a new one without it."
        raise HomeError(message)
    with open_for_rebuild(home.path, clock, endpoint=endpoint, ask=ask) as vault, alone(vault):
        done = rebuild(
            vault,
            home.settings["custodians"],
            old.tokens if old is not None else [],
            leave_lost=leave_lost,
            retained=old.retained if old is not None else None,
            unasked=unasked,
            known=Known(ledger_key, kept, old.log_keys, old.published) if old is not None else Known(ledger_key, kept),
        )
    with open_vault(home.path, clock, endpoint=endpoint, ask=ask) as vault:
        recovered = recover_destructions(vault)
    return Replaced(done, recovered, len(old.tokens) if old is not None else None)


def _read_old(home: Home) -> _Old | None:
    if "database" in home.settings or not (home.path / CATALOGUE).exists():
        return None
    kept = sa.select(record_states.c.id, record_states.c.cohort_id, record_states.c.slot)
    try:
        with closing(Catalogue(home.database)) as old, old.read() as tx:
            tokens = [dict(row) for row in tx.execute(sa.select(access_tokens)).mappings()]
            retained = tx.execute(kept.where(record_states.c.state == "retained"))
            places = {row.id: (row.cohort_id, row.slot) for row in retained}
            return _Old(tokens, places, published_mark(tx), named_keys(tx))
    except (CatalogueError, VaultError, sa.exc.SQLAlchemyError):
        return None
