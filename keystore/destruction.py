"""The destruction of a master key: the only module that calls a custodian's `destroy`.

Everything below a destroyed master is unreachable. So this is called by exactly one module of `vault`
(an import contract in `make check`), after the legal order of docs/spec/destruction.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .custodians import Custodian, MasterState
from .errors import CustodianError, MasterGoneError
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


def destroy_master(custodian: Custodian, vault_id: bytes, last_root: SealedRoot) -> Evidence:
    """Destroy the master that wraps `last_root`; read back that it is gone; try to use it until that is stable.

    Safe to repeat: on an absent master it only observes.

    Raises:
        CustodianError: the master is, or may be, still usable.
    """
    name = last_root.master
    custodian.destroy(name)
    state = custodian.describe(name)
    if state is not MasterState.ABSENT:
        message = f"The custodian still has the master {name} after its destruction."
        raise CustodianError(message)
    bound_to = root_context(vault_id, last_root.tree, last_root.epoch, last_root.version)
    for _ in range(STABLE_AFTER):
        try:
            custodian.unwrap(name, last_root.wrapped_key, bound_to).wipe()
        except MasterGoneError:
            continue
        message = f"The custodian still opens data with the destroyed master {name}."
        raise CustodianError(message)
    return Evidence(name, custodian.uri, state, STABLE_AFTER)


def discard_unused_master(custodian: Custodian, name: str) -> None:
    """Destroy a master under which no current root stands: the leftover of a change that was cut off.

    Raises:
        CustodianError: the master is, or may be, still there.
    """
    custodian.destroy(name)
