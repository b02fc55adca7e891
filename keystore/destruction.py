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

__all__ = ["Evidence", "Standing", "destroy_master", "discard_unused_master"]

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


@dataclass(frozen=True, slots=True)
class Standing:
    """A root, and the custodian at which its master stands."""

    custodian: Custodian
    root: SealedRoot


def destroy_master(vault_id: bytes, last: Standing, following: Standing) -> Evidence:
    """Destroy the master that wraps the last root; read back that it is gone; try to use it until that is stable.

    The following root must open first: an empty or unmounted custodian knows no master at all, and its
    silence about the old one would prove nothing. Safe to repeat: on an absent master it only observes.

    Raises:
        CustodianError: the master is, or may be, still usable; or the following root's master is not there.
    """
    custodian, name = last.custodian, last.root.master
    if (following.custodian.uri, following.root.master) == (custodian.uri, name):
        message = "the following root must stand under another master"
        raise WrongOrderError(message)
    _use(vault_id, following)
    custodian.destroy(name)
    state = custodian.describe(name)
    if state is not MasterState.ABSENT:
        message = f"The custodian still has the master {name} after its destruction."
        raise CustodianError(message)
    for _ in range(STABLE_AFTER):
        try:
            _use(vault_id, last)
        except MasterGoneError:
            continue
        except SealBrokenError as other:
            message = f"The custodian has a master {name} again, after its destruction."
            raise CustodianError(message) from other
        message = f"The custodian still opens data with the destroyed master {name}."
        raise CustodianError(message)
    return Evidence(name, custodian.uri, state, STABLE_AFTER)


def discard_unused_master(custodian: Custodian, vault_id: bytes, name: str, current: Collection[Standing]) -> None:
    """Destroy a master under which no current root stands: the leftover of a change that was cut off.

    Every current root must open first. Where one does not, the caller's idea of what is current is older than
    the custodian, as after a restored backup, and the master that looks unused may be the one that is in use.

    Raises:
        MasterGoneError: a current root's master is gone; nothing was destroyed.
        CustodianError: the master is, or may be, still there.
    """
    if any((one.custodian.uri, one.root.master) == (custodian.uri, name) for one in current):
        message = "a current root stands under this master"
        raise WrongOrderError(message)
    for one in current:
        _use(vault_id, one)
    custodian.destroy(name)


def _use(vault_id: bytes, standing: Standing) -> None:
    root = standing.root
    bound_to = root_context(vault_id, root.tree, root.epoch, root.version)
    standing.custodian.unwrap(root.master, root.wrapped_key, bound_to).wipe()
