"""A master key that is to end by itself at a deadline, and must not any more, is replaced at once (S7).

Whoever decides, or places a hold, at the command line of a machine that may replace masters does not wait for the
night. Elsewhere, and over HTTP, an alarm says who must.
"""

from __future__ import annotations

from vault.alarms import alarms_of, spoken_alarms
from vault.catalogue.destructions import Destruction
from vault.context import Vault
from vault.destruction.carrying_out import require_newest_keys
from vault.destruction.moving import renew_masters
from vault.destruction.reclaim import reclaim
from vault.errors import KeystoreError, VaultError
from vault.home import Home
from vault.objects import ObjectStoreError
from vault.status import find_destruction, write_destruction_record

from .screen import note

__all__ = ["renew_in_time"]


def renew_in_time(vault: Vault, where: Home, authority: str) -> None:
    """Replace the active tree's master where it ends wrongly. Where that fails, what was decided stands; it is said.

    The caller has registered with the fence.
    """
    if alarms_of(vault).ends_wrongly is None:
        return
    renewed: list[Destruction] = []
    try:
        require_newest_keys(vault)
        renewed = renew_masters(vault, authority)
        reclaim(vault)
    except (VaultError, KeystoreError, ObjectStoreError) as refused:
        done = "reclaim what it leaves" if renewed else "replace the master key"
        note(f"Shredvault could not {done} now: {refused}")
    for one in renewed:
        write_destruction_record(where.destructions, find_destruction(vault, one.id))
        note(f"The master key of the {one.tree} tree was to end with the deadline; it was replaced.")
    left = alarms_of(vault)
    for sentence in spoken_alarms(left) if left.ends_wrongly is not None else ():
        note(sentence)
