"""Seals of one's own, to make what a vault never writes but an attacker who has a key, or a bug, might."""

import secrets
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.independent.seal import PIECE, key_page_context, root_key_context


def seal(key: bytes, context: bytes, message: bytes) -> bytes:
    salt = secrets.token_bytes(24)
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + salt + context
    derived = HKDFExpand(SHA512(), 76, info).derive(key)
    aead, nonce = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big")
    pieces = [message[at : at + PIECE] for at in range(0, PIECE * (len(message) // PIECE) + 1, PIECE)]
    chunks = [aead.encrypt((nonce ^ i).to_bytes(12, "big"), piece, None) for i, piece in enumerate(pieces)]
    return b"".join((salt, derived[44:], *chunks))


def trailer(
    bitmap: bytes, *, live: int, level: int = 0, capacity: int = 1024, magic: bytes = b"SVKP", form: int = 1
) -> bytes:
    return struct.pack(">4sBBII", magic, form, level, capacity, live) + bitmap


def bitmap(slots: set[int], capacity: int = 1024) -> bytes:
    return sum(1 << slot for slot in slots).to_bytes(capacity // 8, "little")


def page_message(keys: dict[int, bytes], level: int = 0, capacity: int = 1024) -> bytes:
    body = b"".join(keys[slot] for slot in sorted(keys))
    padded = body + bytes(-len(body) % PIECE)
    return padded + trailer(bitmap(set(keys), capacity), live=len(keys), level=level, capacity=capacity)


def wrap(master: bytes, context: bytes, root_key: bytes) -> bytes:
    nonce = secrets.token_bytes(12)
    return nonce + AESGCM(master).encrypt(nonce, root_key, context)


def pack(
    vault: bytes,
    version: int,
    master: tuple[str, bytes],
    written: dict[int, dict[int, bytes]],
    carried: dict[int, tuple[int, bytes]] | None = None,
    *,
    root_slots: dict[int, bytes] | None = None,
) -> tuple[bytes, dict[int, bytes]]:
    """A pack of the active tree, and its page keys. `root_slots` puts more into the root page than the head says."""
    carried = carried or {}
    page_keys = {cohort: secrets.token_bytes(32) for cohort in written}
    root_key = secrets.token_bytes(32)
    wrapped = wrap(master[1], root_key_context(vault, "active", 1, version), root_key)
    roots = page_keys | {cohort: key for cohort, (_, key) in carried.items()} | (root_slots or {})
    root_page = seal(root_key, key_page_context(vault, "active", 0, version, 1), page_message(roots, 1))
    heads, pages = b"", b""
    for cohort, keys in written.items():
        context = key_page_context(vault, "active", cohort, version, 0)
        sealed = seal(page_keys[cohort], context, page_message(keys))
        heads += struct.pack(">IQI128s", cohort, version, len(sealed), bitmap(set(keys)))
        pages += sealed
    name = master[0].encode()
    sizes = (len(wrapped), len(root_page), len(carried), len(written))
    head = struct.pack(">16sBQQ64sIIII", vault, 1, 1, version, name, *sizes)
    carries = b"".join(struct.pack(">IQ", cohort, at) for cohort, (at, _) in sorted(carried.items()))
    return b"SVMP\x01" + head + carries + heads + wrapped + root_page + pages, page_keys
