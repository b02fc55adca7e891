"""Whether the ledger in the bucket is the one that the vault wrote, to its end: asked before a rebuild goes by it.

Whoever writes in the bucket can write a ledger that is whole in itself, and names a key of his own. So what makes it
ours comes from elsewhere: from the home, from an older catalogue, or from a person who kept the key or a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vault.errors import DamagedError, DestructionRefusedError, LedgerBrokenError
from vault.ledger.publishing import Mark
from vault.log.merkle import Frontier, leaf_hash
from vault.log.notes import VerifierKey, check_note

from .salvage import History

__all__ = ["Known", "require_ours"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the ledger from elsewhere than the bucket."""

    key: VerifierKey | None = None
    """Whose signature a person says that its newest checkpoint bears."""
    kept: Sequence[str] = ()
    """Signed checkpoints that were kept elsewhere."""
    older_keys: Sequence[VerifierKey] = ()
    """The log's keys, by an older catalogue."""
    published: Mark | None = None
    """How far an older catalogue had published it."""


def require_ours(history: History, home_key: VerifierKey, known: Known) -> None:
    """Make sure, as far as anybody here can, that the ledger is ours and ends where it ended.

    1. the newest checkpoint is signed by the key that a person named; or else by the home's, where the ledger names it;
       or else by one that an older catalogue knows. That checkpoint binds everything before it
    2. the ledger has what an older catalogue had published
    3. it has what every checkpoint says that was kept elsewhere

    Raises:
        DestructionRefusedError: nothing here says which key is the ledger's; a person must.
        DamagedError: it is another, or its end was cut off.
    """
    # 1.
    named = {one.facts.get("log_key") for one in history.entries if one.event in ("founded", "rebuilt")}
    if known.key is not None:
        keys, whose = [known.key], "the key that was named with --ledger-key"
    elif str(home_key) in named:
        keys, whose = [home_key], "the key in this home"
    elif known.older_keys:
        keys, whose = list(known.older_keys), "a key that the old catalogue knows"
    else:
        message = (
            "The ledger in the bucket is not signed by the key of this home, and no old catalogue is here that knows "
            "its key: whoever can write to the bucket may have forged it. Nothing was changed. Bring signing.json back "
            "from the backup of the home. If it is lost, name the key that was kept elsewhere (`shredvault ledger key` "
            "printed it, and auditors have it) with --ledger-key, and a checkpoint with --checkpoint."
        )
        raise DestructionRefusedError(message)
    try:
        check_note(history.checkpoint, keys)
    except LedgerBrokenError as stranger:
        message = f"The newest checkpoint of the ledger in the bucket is not signed by {whose}. Nothing was changed."
        raise LedgerBrokenError(message) from stranger
    # 2.
    published = known.published
    if published is not None and published.last and published not in history.marks:
        message = (
            f"The old catalogue had published {published.last} entries, and the ledger in the bucket has them no more, "
            "or others. Bring its objects back, from their older versions or from an export of the ledger."
        )
        raise DamagedError(message)
    # 3.
    _require_kept(history, [*keys, *(VerifierKey.parse(text) for text in named if text)], known.kept)


def _require_kept(history: History, keys: Sequence[VerifierKey], kept: Sequence[str]) -> None:
    claims = [check_note(note, keys) for note in kept]
    frontier, roots = Frontier(), {}
    for entry in history.entries if claims else ():
        frontier.add(leaf_hash(entry.leaf()))
        roots[frontier.size] = frontier.root()
    for claim in claims:
        if claim.size and roots.get(claim.size) != claim.root:
            message = (
                f"A checkpoint over {claim.size} entries was kept elsewhere, and the ledger in the bucket has "
                f"{frontier.size}, or others: its end was cut off, or it is another history. Nothing was changed."
            )
            raise LedgerBrokenError(message)
