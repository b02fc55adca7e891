"""The byte scan: canaries, key values and digests, in whatever form, in any number of bytes.

Canaries share a mark, so a dozen plain searches find them all. Secrets without a mark are found by their words: the
eight-byte words of every form of a secret, at all eight phases, go into one set; the words of the scanned bytes
at offsets divisible by eight are intersected with it in C, and a hit is verified byte by byte.
So the cost hardly grows with the number of secrets.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import quote

WORD = 8
FORM_MIN = 2 * WORD - 1
"""The shortest form that is sure to have a whole word at an offset divisible by eight."""
ESCAPES_MIN = 4
_WORD_MASK = (1 << 8 * WORD) - 1
_HEX_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_JSON_ESCAPE = re.compile(rb"\\u00([0-9a-fA-F]{2})")


class Hit(NamedTuple):
    """What was found: the label of the secret, the form, the offset."""

    label: str
    form: str
    offset: int


def base64_cores(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """What of a secret stands in any base64 text that contains it, at its three possible offsets."""
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + secret)
        # The first characters also hold bits of what stood before, the last ones of what comes after.
        first = (8 * offset + 5) // 6
        last = (8 * (offset + len(secret))) // 6
        core = whole[first:last]
        yield f"base64+{offset}", core
        safe = core.translate(bytes.maketrans(b"+/", b"-_"))
        if safe != core:
            yield f"base64url+{offset}", safe


def forms(secret: bytes) -> dict[str, bytes]:
    """Every form in which 32 bytes might have been written down."""
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    found |= dict(base64_cores(secret))
    found["hex utf-16"] = secret.hex().encode("utf-16-le")
    return found


def text_forms(text: str) -> dict[str, bytes]:
    """Every form in which a text might have been written down."""
    found = {
        "utf-8": text.encode(),
        "latin-1": text.encode("latin-1"),
        "utf-16-le": text.encode("utf-16-le"),
        "utf-16-be": text.encode("utf-16-be"),
        "utf-32-le": text.encode("utf-32-le"),
        "json": json.dumps(text)[1:-1].encode(),
        "percent": quote(text).encode(),
        "ascii": ascii(text)[1:-1].encode(),
        "bytes repr": repr(text.encode())[2:-1].encode(),
        "hex": text.encode().hex().encode(),
        "HEX": text.encode().hex().upper().encode(),
    }
    return found | dict(base64_cores(text.encode()))


def digests(content: bytes) -> dict[str, bytes]:
    """What a program might have kept of a name or a document instead of it."""
    names = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")
    return {name: hashlib.new(name, content, usedforsecurity=False).digest()[:32] for name in names}


class Marks:
    """Finds canaries by their mark."""

    def __init__(self, text_mark: str, byte_mark: bytes) -> None:
        self._forms = {f"text {form}": value for form, value in text_forms(text_mark).items()}
        binary = {"raw": byte_mark, "hex": byte_mark.hex().encode(), "HEX": byte_mark.hex().upper().encode()}
        binary |= dict(base64_cores(byte_mark))
        binary["utf-8"] = byte_mark.decode("latin-1").encode()
        self._forms |= {f"document {form}": value for form, value in binary.items()}

    def find(self, data: bytes) -> Iterator[Hit]:
        """Every canary in these bytes."""
        for form, mark in self._forms.items():
            at = data.find(mark)
            while at >= 0:
                yield Hit("canary", form, at)
                at = data.find(mark, at + 1)


class Words:
    """Finds secrets that have nothing in common, each 32 bytes (or 16 and more) with a label."""

    def __init__(
        self, secrets: Iterable[tuple[str, bytes]], shape: Callable[[bytes], dict[str, bytes]] = forms
    ) -> None:
        self._patterns: list[tuple[str, str, bytes]] = []
        self._words: dict[int, int] = {}
        """The number of a pattern for each word, and in `_others` those of further patterns with the same word."""
        self._others: dict[int, list[int]] = {}
        for label, secret in secrets:
            for form, pattern in shape(secret).items():
                if len(pattern) >= FORM_MIN:
                    self._add(label, form, pattern)

    def _add(self, label: str, form: str, pattern: bytes) -> None:
        number = len(self._patterns)
        self._patterns.append((label, form, pattern))
        for word in _phases(pattern[:FORM_MIN]):
            if self._words.setdefault(word, number) != number:
                self._others.setdefault(word, []).append(number)

    def find(self, data: bytes) -> Iterator[Hit]:
        """Every secret in these bytes."""
        words = memoryview(data)[: len(data) // WORD * WORD].cast("Q")
        for word in self._words.keys() & words:
            for number in (self._words[word], *self._others.get(word, ())):
                label, form, pattern = self._patterns[number]
                at = data.find(pattern)
                if at >= 0:
                    yield Hit(label, form, at)


def unescaped(data: bytes) -> Iterator[bytes]:
    """The bytes again as they were before a log or a JSON text escaped them, where they seem to be escaped."""
    if data.count(b"\\x") >= ESCAPES_MIN:
        yield _HEX_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), data)
    if data.count(b"\\u00") >= ESCAPES_MIN:
        yield _JSON_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), data)


def _phases(start: bytes) -> tuple[int, ...]:
    """The words of a pattern's first 15 bytes at all eight phases."""
    whole = int.from_bytes(start, "little")
    return tuple(whole >> (8 * phase) & _WORD_MASK for phase in range(WORD))
