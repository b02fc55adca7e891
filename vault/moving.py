"""Other masters for the same keys: to another custodian, or to a fresh master before the present one runs out.

A move is a destruction in which no record dies: a new epoch of each tree under a new master, and the old master
destroyed. It goes through the one function, step by step, like every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystore import Tree

from .catalogue import keys
from .catalogue.destructions import Destruction
from .condemning import Progress
from .context import Vault
from .destruction import carry_out
from .frozen_lists import freeze_move
from .keyring import custodian_of

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
        end = custodian.expires_at(root.master)
        found.append(StandingMaster(tree, root.master, root.epoch, custodian.uri, custodian.assurance.kind, end))
    return found


def move_masters(
    vault: Vault, custodian: str, authority: str, progress: Progress = lambda _: None
) -> list[Destruction]:
    """Put both trees under fresh masters at a custodian, and destroy the old ones. A tree that is there stays.

    Cut off, it is completed by `recover` and by running it again.

    Raises:
        CustodianError: the settings do not name the custodian, or it cannot be used.
        DestructionRefusedError, BusyError, ObjectStoreError, CatalogueError: see `carry_out`.
    """
    address = vault.custody.at(custodian).uri
    trees = [one.tree for one in masters_in_use(vault) if one.custodian != address]
    return _replace(vault, trees, address, authority, progress)


def renew_masters(vault: Vault, authority: str, progress: Progress = lambda _: None) -> list[Destruction]:
    """Replace the masters that their custodians will destroy within `RENEW_BEFORE`, each at its custodian.

    Raises:
        CustodianError, DestructionRefusedError, BusyError, ObjectStoreError, CatalogueError: see `carry_out`.
    """
    limit = vault.clock.now() + RENEW_BEFORE
    done: list[Destruction] = []
    for one in masters_in_use(vault):
        if one.expires_at is not None and one.expires_at < limit:
            done += _replace(vault, [one.tree], one.custodian, authority, progress)
    return done


def _replace(vault: Vault, trees: list[Tree], address: str, authority: str, progress: Progress) -> list[Destruction]:
    return [carry_out(vault, freeze_move(vault, tree, address, authority), progress) for tree in trees]
