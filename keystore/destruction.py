"""The destruction of a master key: the only module that calls a custodian's `destroy`.

Everything below a destroyed master is unreachable. So this is called by exactly one module of `vault`
(an import contract in `make check`), after the legal order of docs/spec/destruction.md.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from .custodians import Custodian, MasterState
from .errors import CustodianError, MasterGoneError, SealBrokenError, WrongOrderError
from .tree import SealedRoot, root_context

__all__ = ["Evidence", "destroy_master", "discard_unused_master"]

STABLE_AFTER: Final = 3
"""Consecutive refusals after which the absence counts as stable."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was observed at the custodian after a master's destruction."""

    master: str
    custodian: str
    state_read_back: MasterState
    refused_uses: int
    """How often in a row the custodian refused to open the old root with it."""


def destroy_master(custodian: Custodian, vault_id: bytes, last_root: SealedRoot, next_root: SealedRoot) -> Evidence:
    """Destroy the master that wraps `last_root`; read back that it is gone; try to use it until that is stable.

    The custodian must open `next_root` first: an empty or unmounted custodian knows no master at all, and its
    silence about the old one would prove nothing. Safe to repeat: on an absent master it only observes.

    Raises:
        CustodianError: the master is, or may be, still usable; or the next root's master is not there.
    """
    name = last_root.master
    if next_root.master == name:
        message = "the next root must stand under another master"
        raise WrongOrderError(message)
    _use(custodian, vault_id, next_root)
    custodian.destroy(name)
    state = custodian.describe(name)
    if state is not MasterState.ABSENT:
        message = f"The custodian still has the master {name} after its destruction."
        raise CustodianError(message)
    for _ in range(STABLE_AFTER):
        try:
            _use(custodian, vault_id, last_root)
        except MasterGoneError:
            continue
        except SealBrokenError as other:
            message = f"The custodian has a master {name} again, after its destruction."
            raise CustodianError(message) from other
        message = f"The custodian still opens data with the destroyed master {name}."
        raise CustodianError(message)
    return Evidence(name, custodian.uri, state, STABLE_AFTER)


def _use(custodian: Custodian, vault_id: bytes, root: SealedRoot) -> None:
    bound_to = root_context(vault_id, root.tree, root.epoch, root.version)
    custodian.unwrap(root.master, root.wrapped_key, bound_to).wipe()


def discard_unused_master(
    custodian: Custodian, vault_id: bytes, name: str, current_roots: Collection[SealedRoot]
) -> None:
    """Destroy a master under which no current root stands: the leftover of a change that was cut off.

    Every current root must open first. Where one does not, the caller's idea of what is current is older than
    the custodian, as after a restored backup, and the master that looks unused may be the one that is in use.

    Raises:
        MasterGoneError: a current root's master is gone; nothing was destroyed.
        CustodianError: the master is, or may be, still there.
    """
    if any(root.master == name for root in current_roots):
        message = "a current root stands under this master"
        raise WrongOrderError(message)
    for root in current_roots:
        _use(custodian, vault_id, root)
    custodian.destroy(name)
