"""Makes the frozen test vectors in this folder with the product: `python -m tests.vectors.make`.

Run once for each format; the tests never run it. The salts and nonces are drawn by the product, so a second
run gives other blobs of the same meaning. Every key in the vectors is a test key, SHA-256 of
`shredvault test key <name>`. README.md describes the files.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from keystore import (
    COHORT_SLOTS,
    EVERY_SLOT,
    Key,
    KeyPage,
    OpenTree,
    PageName,
    Rewrite,
    SealedPage,
    Tree,
    TreeChange,
    context,
    found,
    seal,
    sealed_size,
    slots_to_bitmap,
    stage,
)
from keystore.custodians import FileCustodian
from keystore.tree import root_context
from vault.ids import DocumentId, RecordId
from vault.records.documents import PAD_MARK, padme
from vault.records.manifests import Filed, Manifest
from vault.records.sheets import Sheet, Slip, body_tag, document_context, name_tag
from vault.trees.mirror import pack, pack_name

FOLDER: Final = Path(__file__).parent
VAULT: Final = bytes.fromhex("00112233445566778899aabbccddeeff")
OTHER_VAULT: Final = bytes.fromhex("ff112233445566778899aabbccddeeff")
RECORD: Final = RecordId("0123456789abcdefghjkmnpqrs")
DOCUMENT: Final = DocumentId("srqpnmkjhgfedcba9876543210")
SIZES: Final = (0, 1, 16_383, 16_384, 16_385, 40_000)
PADME_SIZES: Final = (
    *(0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 100, 1_000, 1_024, 1_025, 16_383, 16_384, 16_385, 65_535, 65_536),
    *(65_537, 1_000_000, 1_048_576, 1_048_577, 9_999_999, 26_214_400, 26_214_401),
)
OVERHEAD: Final = 56
SEALED_CHUNK: Final = 16_400


def test_key(name: str) -> bytes:
    """The test key of a name."""
    return hashlib.sha256(b"shredvault test key " + name.encode()).digest()


def message(size: int) -> bytes:
    """The first `size` bytes of SHA-256(0) || SHA-256(1) || ..., each number 4 bytes, big-endian."""
    blocks = (hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def main() -> None:
    """Write all files."""
    for name, content in (
        ("sealed-object", sealed_objects()),
        ("key-page", key_pages()),
        ("root-key", root_keys()),
        ("mirror-pack", mirror_packs()),
        ("record", records()),
        ("sizes", sizes()),
    ):
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


def _key(raw: bytes) -> Key:
    return Key(bytearray(raw))


def _b64(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode("ascii")


def _refusals(of: str, sealed: bytes | bytearray, key: bytes, wrong_contexts: Iterable[bytes]) -> list[dict[str, Any]]:
    """Changes after which a blob must not open."""
    size = len(sealed)
    cuts = {0, 23, 24, 55, 56, OVERHEAD + 15, OVERHEAD + SEALED_CHUNK, OVERHEAD + 2 * SEALED_CHUNK, size - 16, size - 1}
    flips = {0, 23, 24, 55, 56, OVERHEAD + SEALED_CHUNK - 1, OVERHEAD + SEALED_CHUNK, size - 17, size - 16, size - 1}
    changes: list[dict[str, Any]] = [{"truncate_to": cut} for cut in sorted(cuts) if 0 <= cut < size]
    changes += [{"append": "00"}, {"append": "00" * 16}]
    changes += [{"flip_bit_0_of_byte": at} for at in sorted(flips) if 0 <= at < size]
    changes += [{"context": wrong.hex()} for wrong in wrong_contexts]
    changes += [{"key": bytes([key[0] ^ 1, *key[1:]]).hex()}, {"key": test_key("another").hex()}]
    return [{"of": of, **change} for change in changes]


def sealed_objects() -> dict[str, Any]:
    """One sealed message for each boundary size."""
    key, bound_to = test_key("sealed object"), context("shredvault/test/v1", b"abc", b"", b"\0")
    cases: list[dict[str, Any]] = []
    refusals: list[dict[str, Any]] = []
    for size in SIZES:
        plaintext = message(size)
        sealed = seal(_key(key), bound_to, plaintext)
        name = f"{size} bytes"
        cases.append(
            {
                "name": name,
                "key": key.hex(),
                "context": bound_to.hex(),
                "size": size,
                "sha256": hashlib.sha256(plaintext).hexdigest(),
                "sealed": _b64(sealed),
            }
        )
        wrong = (b"", bound_to[:-1], bound_to + b"\0", context("shredvault/test/v1", b"ab", b"c", b"\0"))
        refusals += _refusals(name, sealed, key, wrong)
    fields = [("shredvault/test/v1", []), ("a", [b""]), ("shredvault/test/v1", [b"abc", b"", b"\0"])]
    contexts = [
        {"label": label, "fields": [field.hex() for field in parts], "context": context(label, *parts).hex()}
        for label, parts in fields
    ]
    return {"contexts": contexts, "cases": cases, "refusals": refusals}


def _page(level: int, capacity: int, slots: Iterable[int]) -> KeyPage:
    live = sorted(slots)
    keys = bytearray(b"".join(test_key(f"slot {slot}") for slot in live))
    return KeyPage(level, capacity, slots_to_bitmap(live, capacity), keys)


def key_pages() -> dict[str, Any]:
    """Cohort pages that are empty, sparse and full, and a root page."""
    key = test_key("page")
    pages: tuple[tuple[str, PageName, int, int, Sequence[int]], ...] = (
        ("empty", PageName(VAULT, Tree.ACTIVE, 7, 3), 0, COHORT_SLOTS, []),
        ("few live slots", PageName(VAULT, Tree.HELD, 65_535, 2**40 + 5), 0, COHORT_SLOTS, [0, 1, 8, 511, 1023]),
        ("full cohort", PageName(VAULT, Tree.ACTIVE, 1, 2), 0, COHORT_SLOTS, range(COHORT_SLOTS)),
        ("root page", PageName(VAULT, Tree.ACTIVE, 0, 9), 1, 2048, [1, 2, 1023, 1024, 2047]),
    )
    cases: list[dict[str, Any]] = []
    refusals: list[dict[str, Any]] = []
    for name, page_name, level, capacity, slots in pages:
        with _page(level, capacity, slots) as page:
            sealed = page.seal(page_name, _key(key))
            bitmap = page.bitmap
        cases.append(
            {
                "name": name,
                "page_key": key.hex(),
                "vault": VAULT.hex(),
                "tree": str(page_name.tree),
                "number": page_name.number,
                "version": page_name.version,
                "level": level,
                "capacity": capacity,
                "context": page_name.context().hex(),
                "live": list(slots),
                "bitmap": _b64(bitmap),
                "sealed": _b64(sealed),
            }
        )
        other_tree = Tree.HELD if page_name.tree is Tree.ACTIVE else Tree.ACTIVE
        wrong = [
            PageName(OTHER_VAULT, page_name.tree, page_name.number, page_name.version),
            PageName(VAULT, other_tree, page_name.number, page_name.version),
            PageName(VAULT, page_name.tree, page_name.number + 1, page_name.version),
            PageName(VAULT, page_name.tree, page_name.number, page_name.version + 1),
        ]
        contexts = [item.context() for item in wrong]
        # The level is the last byte.
        contexts.append(page_name.context()[:-1] + bytes([1 - level]))
        refusals += _refusals(name, sealed, key, contexts)
    return {"slot_key": "SHA-256 of 'shredvault test key slot <number>'", "cases": cases, "refusals": refusals}


def _custodian(folder: Path, name: str, master: bytes) -> FileCustodian:
    """A file custodian that holds one known master."""
    custodian = FileCustodian(folder / "keys", away_from=folder / "home")
    (folder / "keys" / f"{name}.master").write_bytes(master)
    return custodian


def root_keys() -> dict[str, Any]:
    """A root key wrapped by the file custodian."""
    master, root_key = test_key("master"), test_key("root")
    bound_to = root_context(VAULT, Tree.ACTIVE, 5, 9)
    with TemporaryDirectory() as folder:
        wrapped = _custodian(Path(folder), "m", master).wrap("m", _key(root_key), bound_to)
    wrong = [
        root_context(OTHER_VAULT, Tree.ACTIVE, 5, 9),
        root_context(VAULT, Tree.HELD, 5, 9),
        root_context(VAULT, Tree.ACTIVE, 6, 9),
        root_context(VAULT, Tree.ACTIVE, 5, 10),
    ]
    changes: list[dict[str, Any]] = [{"truncate_to": 59}, {"append": "00"}, {"key": test_key("another").hex()}]
    changes += [{"flip_bit_0_of_byte": at} for at in (0, 11, 12, 43, 44, 59)]
    changes += [{"context": item.hex()} for item in wrong]
    case = {
        "name": "wrap",
        "master": master.hex(),
        "vault": VAULT.hex(),
        "tree": "active",
        "epoch": 5,
        "version": 9,
        "context": bound_to.hex(),
        "root_key": root_key.hex(),
        "wrapped": _b64(wrapped),
    }
    return {"cases": [case], "refusals": [{"of": "wrap", **change} for change in changes]}


def mirror_packs() -> dict[str, Any]:
    """Two versions of a held tree: the second carries a cohort's page over from the first."""
    master, name = test_key("master"), "held-0123456789abcdefghjkmnpqrs"
    pages: dict[int, SealedPage] = {}
    packs = []
    with TemporaryDirectory() as folder:
        custodian = _custodian(Path(folder), name, master)
        staged = found(VAULT, Tree.HELD, version=1, master=name, custodian=custodian)
        for version, cohort, slots, carried in ((3, 2, [1, 1023], {}), (4, 70, [5], {2: 3})):
            put = {slot: _key(test_key(f"cohort {cohort} slot {slot}")) for slot in slots}
            change = TreeChange(rewritten={cohort: Rewrite(EVERY_SLOT, put)})
            with OpenTree.open(VAULT, staged.root, custodian) as base:
                staged = stage(
                    VAULT,
                    base,
                    change,
                    pages.__getitem__,
                    tree=Tree.HELD,
                    epoch=1,
                    version=version,
                    master=name,
                    custodian=custodian,
                )
            pages |= {page.cohort: page for page in staged.pages}
            packs.append(
                {
                    "object": pack_name(Tree.HELD, version),
                    "tree": "held",
                    "epoch": 1,
                    "version": version,
                    "master_name": name,
                    "carried": [[number, at] for number, at in carried.items()],
                    "pages": [[cohort, version, slots]],
                    "pack": _b64(pack(VAULT, staged, carried)),
                }
            )
    key_rule = "SHA-256 of 'shredvault test key cohort <cohort> slot <slot>'"
    return {"vault": VAULT.hex(), "master": master.hex(), "record_key": key_rule, "packs": packs}


def records() -> dict[str, Any]:
    """What one record stores: sheet, slip, tags, a small padded document, manifest."""
    raw = test_key("record")
    key = _key(raw)
    applicant = {"family_name": "Ångström-Ito", "given_names": ["Zoë", "美咲"], "born": "1990-02-29", "unit": None}
    sheet = Sheet(applicant).seal(key, VAULT, RECORD)
    body = b"%PDF-1.7 a small test document %%EOF\n"
    name = "Reisepass Nº 1.pdf"
    digest = hashlib.sha256(body).hexdigest()
    slip = Slip(name, "application/pdf", len(body), digest).seal(key, VAULT, RECORD, DOCUMENT)
    padded = (body + PAD_MARK).ljust(padme(len(body) + 1), b"\0")
    sealed = seal(key, document_context(VAULT, RECORD, DOCUMENT), padded)
    opened = datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC)
    manifest = Manifest(
        record=RECORD,
        cohort=7,
        slot=11,
        policy=1,
        opened_at=opened,
        completed_at=opened + timedelta(minutes=5),
        due_on=date(2028, 2, 1),
        opened_by=None,
        idempotency_hash=hashlib.sha256(b"idempotency").digest(),
        body_tag=hashlib.sha256(b"body tag").digest(),
        sheet=sheet,
        documents=[Filed(DOCUMENT, "documents/zzzzzzzzzzzzzzzzzzzzzzzzzz", slip)],
    ).encode(key, VAULT)
    request = hashlib.sha256(b'{"applicant":{}}').digest()
    other_vault, other_record = OTHER_VAULT, DOCUMENT
    return {
        "record_key": raw.hex(),
        "vault": VAULT.hex(),
        "record": RECORD,
        "document": DOCUMENT,
        "sheet": {"applicant": applicant, "sealed": _b64(sheet)},
        "slip": {
            "name": name,
            "media_type": "application/pdf",
            "size": len(body),
            "sha256": digest,
            "sealed": _b64(slip),
        },
        "document_body": {"bytes": _b64(body), "padded_size": len(padded), "sealed": _b64(sealed)},
        "name_tag": {"name": name, "tag": name_tag(key, RECORD, name).hex()},
        "body_tag": {"request_sha256": request.hex(), "tag": body_tag(key, RECORD, request).hex()},
        "manifest": _b64(manifest),
        "refusals": [
            {"of": "document_body", "context": document_context(other_vault, RECORD, DOCUMENT).hex()},
            {"of": "document_body", "context": document_context(VAULT, RecordId(other_record), DOCUMENT).hex()},
            {"of": "document_body", "context": document_context(VAULT, RECORD, DocumentId(RECORD)).hex()},
            {"of": "sheet", "context": document_context(VAULT, RECORD, DOCUMENT).hex()},
            {"of": "slip", "context": document_context(VAULT, RECORD, DOCUMENT).hex()},
        ],
    }


def sizes() -> dict[str, Any]:
    """Sizes after padding and sealing, and bitmaps."""
    slot_lists: tuple[list[int], ...] = ([], [0], [7], [8], [1, 2, 3, 1023], list(range(1024)))
    return {
        "padme": [[size, padme(size)] for size in PADME_SIZES],
        "sealed": [[size, sealed_size(size)] for size in (*SIZES, 32_767, 32_768, 26_214_401)],
        "bitmaps": [{"capacity": 1024, "slots": slots, "bitmap": slots_to_bitmap(slots).hex()} for slots in slot_lists],
    }


if __name__ == "__main__":
    main()
