"""Other masters for the same keys: to another custodian, or where the present one ends too soon or too late.

It may run out soon, or outlast the deadline at which everything goes, or end there though something else was decided.

A move is a destruction in which no record dies: a new epoch of each tree under a new master, and the old master
destroyed. It goes through the one function, step by step, like every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystore import Tree
from vault.catalogue import keys
from vault.catalogue.destructions import Destruction
from vault.context import Vault
from vault.errors import CustodianError, CustodianUnavailableError, DestructionRefusedError
from vault.sunset.ending import end_for_active_master
from vault.trees.ended import ended_at
from vault.trees.keyring import custodian_of

from .carrying_out import carry_out, recover_destructions
from .condemning import Progress
from .frozen_lists import freeze_move

__all__ = ["RENEW_BEFORE", "StandingMaster", "masters_in_use", "move_masters", "renew_masters"]

RENEW_BEFORE: Final = timedelta(days=30)
"""A master that its custodian will destroy sooner than this is replaced."""


@dataclass(frozen=True, slots=True)
class StandingMaster:
    """The master of one tree, and where it stands."""

    tree: Tree
    master: str
    epoch: int
    custodian: str
    assurance: str
    expires_at: datetime | None


def masters_in_use(vault: Vault) -> list[StandingMaster]:
    """The present masters, as their custodians describe them.

    Raises:
        CustodianError: a custodian does not answer, or a master is gone.
    """
    found = []
    for tree in Tree:
        with vault.catalogue.read() as tx:
            root = keys.current_root(tx, tree)
            custodian = custodian_of(vault, tx, root)
            over = ended_at(vault, tx, tree)
        end = over or custodian.expires_at(root.master)
        found.append(StandingMaster(tree, root.master, root.epoch, custodian.uri, custodian.assurance.kind, end))
    return found


def move_masters(
    vault: Vault, custodian: str, authority: str, progress: Progress = lambda _: None
) -> list[Destruction]:
    """Put both trees under fresh masters at a custodian, and destroy the old ones. A tree that is there stays.

    Cut off, it is completed by `recover` and by running it again.

    Raises:
        CustodianError: the settings do not name the custodian, or it does not answer.
        DestructionRefusedError: it refuses; nothing was begun. Also see `carry_out`.
        BusyError, ObjectStoreError, CatalogueError: see `carry_out`.
    """
    target = vault.custody.at(custodian)
    try:
        # Asked before anything is planned there: what was planned is discarded only by asking there again.
        target.names()
    except CustodianUnavailableError:
        raise
    except CustodianError as refused:
        raise DestructionRefusedError(f"{refused} Nothing was begun.") from refused
    address = target.uri
    trees = [one.tree for one in masters_in_use(vault) if one.custodian != address]
    return _replace(vault, trees, address, authority, progress)


def renew_masters(vault: Vault, authority: str, progress: Progress = lambda _: None) -> list[Destruction]:
    """Replace the masters that their custodians will destroy too soon or too late, each at its custodian.

    Too soon is within `RENEW_BEFORE`, or at a deadline that is not to end it any more; too late is after the deadline
    that is to end it (S7). A master that has ended at its deadline is left to the sunset's destruction. What was cut
    off is undone or carried to its end before: it would refuse this until the master has ended.

    Raises:
        CustodianError, DestructionRefusedError, BusyError, ObjectStoreError, CatalogueError: see `carry_out`.
    """
    if not _ending_wrongly(vault):
        return []
    recover_destructions(vault)
    done: list[Destruction] = []
    for one in _ending_wrongly(vault):
        done += _replace(vault, [one.tree], one.custodian, authority, progress)
    return done


def _ending_wrongly(vault: Vault) -> list[StandingMaster]:
    return [
        one for one in masters_in_use(vault) if one.expires_at is not None and _ends_wrongly(vault, one, one.expires_at)
    ]


def _ends_wrongly(vault: Vault, one: StandingMaster, expires_at: datetime) -> bool:
    now = vault.clock.now()
    with vault.catalogue.read() as tx:
        told = keys.planned_end(tx, one.master)
        wanted = end_for_active_master(tx, now) if one.tree is Tree.ACTIVE else None
        if ended_at(vault, tx, one.tree) is not None:
            return False
    if wanted is not None and expires_at > wanted:
        return True
    if told is not None and expires_at >= told and told != wanted:
        return True
    return expires_at < now + RENEW_BEFORE and expires_at != wanted


def _replace(vault: Vault, trees: list[Tree], address: str, authority: str, progress: Progress) -> list[Destruction]:
    return [carry_out(vault, freeze_move(vault, tree, address, authority), progress) for tree in trees]
