"""`shredvault recover`: puts in order what was cut off."""

from __future__ import annotations

from vault.certificates import issue_missing
from vault.destruction.carrying_out import destroy_returned, recover_destructions, require_newest_keys
from vault.destruction.reclaim import reclaim, sweep_litter
from vault.holds import copy_held_keys
from vault.home import Home, open_vault
from vault.serving.fences import Node
from vault.status import destructions, status_of, write_destruction_record
from vault.wording import number_of

from .manual import described
from .screen import counting, locked_objects, note, print_json, say, somebody, stepping
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["recover"]


@described
def recover(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Put in order what was cut off. Safe at any time, and to repeat.

    A destruction that had condemned nothing is undone; one that had is carried to its end. Keys of held records
    that were not copied yet are copied, space of destroyed records is reclaimed, and what broken uploads left is
    deleted. `serve` does the first two by itself when it starts.
    """
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        require_newest_keys(vault)
        with stepping() as step:
            found = recover_destructions(vault, step)
        returned = destroy_returned(vault)
        uncertified = issue_missing(vault)
        copied = copy_held_keys(vault)
        before = status_of(vault).to_reclaim
        with counting("records' space reclaimed", None) as counted:
            reclaimed = reclaim(vault, counted, every_lock=True)
        litter = sweep_litter(vault)
        seen = status_of(vault)
        locked, freed = seen.locked, before - seen.to_reclaim
        paths = [
            write_destruction_record(where.destructions, one)
            for one in destructions(vault)
            if one.completed_at is not None
        ]
    report = {
        "undone": found.undone,
        "finished": found.finished,
        "masters_discarded": found.masters_discarded,
        "masters_destroyed_again": len(returned.destroyed),
        "masters_still_there": len(returned.left),
        "held_keys_copied": bool(copied),
        "reclaimed_records": reclaimed,
        "litter_deleted": litter,
        "locked_objects": locked.count,
        "destruction_records": len(paths),
        "without_certificate": uncertified,
    }
    for name, why in returned.left.items():
        note(f"The destroyed master key {name} is at its custodian again, and could not be destroyed again: {why}")
    if as_json:
        print_json(report)
        return
    for one in found.undone:
        say(f"Undone: destruction {one}; it had destroyed nothing.")
    for one in found.finished:
        say(f"Finished: destruction {one}.")
    done = [
        (found.masters_discarded, "unused master key", "discarded"),
        (len(returned.destroyed), "destroyed master key", "had come back to its custodian, and was destroyed again"),
        (reclaimed, "destroyed record", "reclaimed: the sealed bytes are deleted"),
        # After a rebuild all of it was deleted long ago, and only the note was missing.
        (0 if reclaimed else freed, "destruction", "looked through: no sealed byte was left"),
        (litter, "leftover", "of broken uploads deleted"),
    ]
    for count, noun, what in done:
        if count:
            say(f"{number_of(count, noun)} {what}.")
    if copied:
        say("Keys of held records copied.")
    if locked.count:
        say(f"Object lock keeps {locked_objects(locked)} in the bucket; `shredvault status --json` lists them.")
    if not (found.undone or found.finished or copied or returned.left or any(count for count, *_ in done)):
        say("Nothing was cut off; there was nothing to do.")
