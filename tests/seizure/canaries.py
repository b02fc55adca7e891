"""Canaries: 32 random bytes in every field of every record, drawn from the seed of a game.

All canaries of one game begin with the same mark of eight bytes (one for texts, one for documents), so that a single
search finds every canary in whatever form; the 24 bytes behind it say which one it is.
"""

import string
from random import Random

from tests.vault.world import PNG_END, PNG_HEAD

CANARY_BYTES = 32
MARK_BYTES = 8
_LETTERS = string.ascii_letters + string.digits


class Canaries:
    """Draws canaries. A text has a letter outside ASCII in its mark, so that escaped forms differ from plain ones."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.text_mark = "Zñ" + self._letters(5)
        self.byte_mark = b"\xfe\x00" + random.randbytes(MARK_BYTES - 2)

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_LETTERS, k=count))

    def text(self) -> str:
        """A text of 32 bytes."""
        return self.text_mark + self._letters(CANARY_BYTES - MARK_BYTES)

    def docket(self) -> str:
        """What passes for a docket, which is ASCII: 32 characters without the mark."""
        return self._letters(CANARY_BYTES)

    def raw(self) -> bytes:
        """32 bytes for a document."""
        return self.byte_mark + self._random.randbytes(CANARY_BYTES - MARK_BYTES)

    def document(self, canary: bytes, size: int = 400) -> bytes:
        """Something that passes for a PNG and repeats the canary from its beginning to its end."""
        room = max(size - len(PNG_HEAD) - len(PNG_END), CANARY_BYTES)
        filling = self._random.randbytes(room - CANARY_BYTES) if room < 1024 else canary * (room // CANARY_BYTES)
        return PNG_HEAD + canary + filling[: room - CANARY_BYTES] + PNG_END
