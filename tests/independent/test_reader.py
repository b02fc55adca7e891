"""The independent reader against the frozen vectors, and against what must not open."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.independent import crafting
from tests.independent.reader import (
    Trees,
    open_document,
    open_page,
    open_record,
    open_sheet,
    open_slip,
    parse_manifest,
    parse_pack,
    read_masters,
)
from tests.independent.seal import (
    HEAD,
    PIECE,
    TAG,
    UnreadableError,
    body_tag,
    context,
    document_context,
    key_page_context,
    merkle_root,
    name_tag,
    padme,
    root_key_context,
    sheet_context,
    slip_context,
    unpad,
    unseal,
    unwrap_root_key,
)

VECTORS = Path(__file__).parent.parent / "vectors"
FILES = ["sealed-object", "key-page", "root-key", "mirror-pack", "record", "sizes"]
V = {name: json.loads((VECTORS / f"{name}.json").read_text()) for name in FILES}
VAULT = bytes.fromhex("00112233445566778899aabbccddeeff")
KEY = hashlib.sha256(b"a key").digest()
OTHER_KEY = hashlib.sha256(b"another key").digest()
RECORD, OTHER_RECORD, DOCUMENT = "0" * 26, "1" * 26, "2" * 26


def b64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def cases(file: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in V[file]["cases"]]


def refusals(file: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{number} {case['of']} {' '.join(case.keys() - {'of'})}")
        for number, case in enumerate(V[file]["refusals"])
    ]


def changed(refusal: dict[str, Any], key: bytes, bound: bytes, blob: bytes) -> tuple[bytes, bytes, bytes]:
    """The key, context and blob of a case, with the one change a refusal names."""
    (how, what), *more = ((k, v) for k, v in refusal.items() if k != "of")
    assert not more
    if how == "truncate_to":
        return key, bound, blob[:what]
    if how == "append":
        return key, bound, blob + bytes.fromhex(what)
    if how == "flip_bit_0_of_byte":
        return key, bound, flip(blob, what)
    if how == "context":
        return key, bytes.fromhex(what), blob
    assert how == "key"
    return bytes.fromhex(what), bound, blob


def flip(blob: bytes, at: int, bit: int = 1) -> bytes:
    return blob[:at] + bytes([blob[at] ^ bit]) + blob[at + 1 :]


def case_of(file: str, refusal: dict[str, Any]) -> dict[str, Any]:
    return next(dict(case) for case in V[file]["cases"] if case["name"] == refusal["of"])


def refuse(opening: Callable[..., object], *inputs: object) -> None:
    with pytest.raises(UnreadableError) as caught:
        opening(*inputs)
    assert str(caught.value) == "unreadable"
    assert caught.value.__cause__ is None


# ---- sealed-object.json


@pytest.mark.parametrize("case", V["sealed-object"]["contexts"], ids=lambda case: case["context"])
def test_contexts(case: dict[str, Any]) -> None:
    assert context(case["label"], *map(bytes.fromhex, case["fields"])).hex() == case["context"]


@pytest.mark.parametrize("case", cases("sealed-object"))
def test_sealed_objects_open(case: dict[str, Any]) -> None:
    message = unseal(bytes.fromhex(case["key"]), bytes.fromhex(case["context"]), b64(case["sealed"]))
    stream = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(case["size"] // 32 + 1))
    assert message == stream[: case["size"]]
    assert hashlib.sha256(message).hexdigest() == case["sha256"]


@pytest.mark.parametrize("refusal", refusals("sealed-object"))
def test_sealed_objects_refused(refusal: dict[str, Any]) -> None:
    case = case_of("sealed-object", refusal)
    key, bound, blob = changed(refusal, bytes.fromhex(case["key"]), bytes.fromhex(case["context"]), b64(case["sealed"]))
    refuse(unseal, key, bound, blob)


# ---- key-page.json


def slot_keys(slots: list[int]) -> bytes:
    return b"".join(hashlib.sha256(f"shredvault test key slot {slot}".encode()).digest() for slot in slots)


def page_fields(case: dict[str, Any]) -> tuple[bytes, str, int, int]:
    return bytes.fromhex(case["vault"]), case["tree"], case["number"], case["version"]


@pytest.mark.parametrize("case", cases("key-page"))
def test_key_pages_open(case: dict[str, Any]) -> None:
    fields = page_fields(case)
    assert key_page_context(*fields, case["level"]).hex() == case["context"]
    page = open_page(bytes.fromhex(case["page_key"]), *fields, b64(case["sealed"]), b64(case["bitmap"]))
    assert page.capacity == case["capacity"]
    assert page.live() == case["live"]
    assert page.keys == slot_keys(case["live"])
    for slot in range(-1, page.capacity + 2):
        assert page.key(slot) == (slot_keys([slot]) if slot in set(case["live"]) else None)


@pytest.mark.parametrize("refusal", refusals("key-page"))
def test_key_pages_refused(refusal: dict[str, Any]) -> None:
    case = case_of("key-page", refusal)
    key, bound, blob = changed(
        refusal, bytes.fromhex(case["page_key"]), bytes.fromhex(case["context"]), b64(case["sealed"])
    )
    refuse(unseal, key, bound, blob)
    if "context" not in refusal:
        refuse(open_page, key, *page_fields(case), blob)


@pytest.mark.parametrize("case", cases("key-page"))
def test_key_pages_refused_when_the_bitmap_outside_differs(case: dict[str, Any]) -> None:
    page_key, blob = bytes.fromhex(case["page_key"]), b64(case["sealed"])
    for wrong in (flip(b64(case["bitmap"]), 3), b64(case["bitmap"])[:-1], b""):
        refuse(open_page, page_key, *page_fields(case), blob, wrong)


# ---- root-key.json


@pytest.mark.parametrize("case", cases("root-key"))
def test_root_keys_unwrap(case: dict[str, Any]) -> None:
    bound = root_key_context(bytes.fromhex(case["vault"]), case["tree"], case["epoch"], case["version"])
    assert bound.hex() == case["context"]
    assert unwrap_root_key(bytes.fromhex(case["master"]), bound, b64(case["wrapped"])).hex() == case["root_key"]


@pytest.mark.parametrize("refusal", refusals("root-key"))
def test_root_keys_refused(refusal: dict[str, Any]) -> None:
    case = case_of("root-key", refusal)
    key, bound, blob = changed(
        refusal, bytes.fromhex(case["master"]), bytes.fromhex(case["context"]), b64(case["wrapped"])
    )
    refuse(unwrap_root_key, key, bound, blob)


def test_masters_of_the_wrong_size_or_name_and_unfinished_ones_are_not_used(tmp_path: Path) -> None:
    for name, size in {
        "a.master": 32,
        "b.master": 31,
        "c.master": 33,
        "d.partial": 32,
        "E.master": 32,
        "a.0123456789abcdef.partial": 7,
        "a.partial": 0,
    }.items():
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / f"{'f' * 65}.master").write_bytes(bytes(32))
    assert read_masters(tmp_path) == {"a": bytes(32)}


# ---- mirror-pack.json

PACKS = {pack["object"]: b64(pack["pack"]) for pack in V["mirror-pack"]["packs"]}
MASTERS = {pack["master_name"]: bytes.fromhex(V["mirror-pack"]["master"]) for pack in V["mirror-pack"]["packs"]}
FIRST, SECOND = sorted(PACKS)


def packed_key(cohort: int, slot: int) -> bytes:
    return hashlib.sha256(f"shredvault test key cohort {cohort} slot {slot}".encode()).digest()


def found(packs: dict[str, bytes], cohort: int, slot: int, masters: dict[str, bytes] = MASTERS) -> list[bytes]:
    return [bytes(key) for _, key in Trees(packs, masters).record_keys(cohort, slot)]


@pytest.mark.parametrize("case", V["mirror-pack"]["packs"], ids=lambda case: case["object"])
def test_packs_parse(case: dict[str, Any]) -> None:
    pack = parse_pack(case["object"], PACKS[case["object"]])
    assert pack.vault.hex() == V["mirror-pack"]["vault"]
    assert (pack.tree, pack.epoch, pack.version) == (case["tree"], case["epoch"], case["version"])
    assert pack.master == case["master_name"]
    assert [[cohort, at] for cohort, at in pack.carried.items()] == case["carried"]
    assert [[cohort, page.version] for cohort, page in pack.pages.items()] == [page[:2] for page in case["pages"]]


def test_record_keys_are_reached_from_the_master() -> None:
    reached = 0
    for case in V["mirror-pack"]["packs"]:
        for cohort, _, slots in case["pages"]:
            for slot in range(1, 1024):
                keys = set(found(PACKS, cohort, slot)) if slot in {1, 2, 5, 1022, 1023} else set()
                if slot in slots and slot in {1, 5, 1023}:
                    assert keys == {packed_key(cohort, slot)}
                    reached += 1
                else:
                    assert not keys
    assert reached == sum(len(page[2]) for case in V["mirror-pack"]["packs"] for page in case["pages"])


@pytest.mark.parametrize(("cohort", "slot"), [(0, 1), (-1, 1), (65_536, 1), (2, 0), (2, -1), (2, 1024)])
def test_places_that_are_no_records_are_refused_before_the_walk(cohort: int, slot: int) -> None:
    refuse(found, PACKS, cohort, slot)
    refuse(found, {}, cohort, slot, {})


def test_slot_0_of_a_held_page_may_be_live() -> None:
    case = next(case for case in V["key-page"]["cases"] if case["tree"] == "held" and 0 in case["live"])
    page = open_page(bytes.fromhex(case["page_key"]), *page_fields(case), b64(case["sealed"]))
    assert bytes(page.key(0) or b"") == slot_keys([0])


def test_a_carried_page_needs_the_pack_that_wrote_it() -> None:
    assert found(PACKS, 2, 1) == [packed_key(2, 1)] * 2
    assert found({SECOND: PACKS[SECOND]}, 2, 1) == []
    assert found({SECOND: PACKS[SECOND]}, 70, 5) == [packed_key(70, 5)]


def test_without_its_master_a_pack_is_closed() -> None:
    for masters in ({}, dict.fromkeys(MASTERS, OTHER_KEY)):
        assert found(PACKS, 2, 1, masters) == found(PACKS, 70, 5, masters) == []


def test_any_change_in_a_packs_heads_closes_it() -> None:
    blob = PACKS[FIRST]
    pack = parse_pack(FIRST, blob)
    heads = 118 + 144
    root, page = heads + len(pack.wrapped), heads + len(pack.wrapped) + len(pack.root_page)
    ends = {heads, root, page, len(blob)}
    boundaries = {at for end in ends for at in (end - 1, end, end + 23, end + 24, end + HEAD - 1, end + HEAD)}
    for at in sorted({*range(heads), *boundaries} & set(range(len(blob)))):
        for bit in (1, 0x80):
            assert found({FIRST: flip(blob, at, bit)}, 2, 1) == [], at


def test_any_change_in_what_a_pack_carries_is_refused() -> None:
    for at in range(118, 118 + 12):
        packs = PACKS | {SECOND: flip(PACKS[SECOND], at)}
        assert found(packs, 2, 1) == [packed_key(2, 1)]  # the first pack's own; one less than before


def test_cut_extended_or_renamed_packs_are_refused() -> None:
    blob = PACKS[SECOND]
    for size in {*range(0, 600, 7), 4, 5, 117, 118, 130, 274, len(blob) - 1}:
        refuse(parse_pack, SECOND, blob[:size])
    for longer in (b"\x00", blob):
        refuse(parse_pack, SECOND, blob + longer)
    for name in (
        FIRST,
        SECOND.replace("held", "active"),
        SECOND + "0",
        SECOND.upper(),
        "",
        f"x{SECOND}",
        SECOND + "\n",
    ):
        refuse(parse_pack, name, blob)


def test_huge_counts_are_refused_before_anything_is_allocated() -> None:
    for at in (102, 106, 110, 114):
        refuse(parse_pack, SECOND, PACKS[SECOND][:at] + b"\xff" * 4 + PACKS[SECOND][at + 4 :])


def test_pages_and_roots_of_other_packs_do_not_fit() -> None:
    one, two = (parse_pack(name, PACKS[name]) for name in (FIRST, SECOND))
    blob = PACKS[SECOND]
    page = two.pages[70].sealed
    assert len(one.root_page) == len(two.root_page)
    assert len(one.pages[2].sealed) == len(page)
    for ours, theirs in ((page, one.pages[2].sealed), (two.root_page, one.root_page), (two.wrapped, one.wrapped)):
        assert found({SECOND: blob.replace(ours, theirs)}, 70, 5) == []


def test_a_hostile_newer_pack_hides_nothing() -> None:
    blob, last = PACKS[SECOND], b"\xff" * 8
    hostile = blob[:30] + last + blob[38:134] + last + blob[142:]
    assert parse_pack("keystore/held/" + "f" * 16, hostile).version == 2**64 - 1
    packs = PACKS | {
        "keystore/held/" + "f" * 16: hostile,
        "keystore/held/junk": b"",
        "keystore/active/" + "0" * 16: b"S",
    }
    assert found(packs, 2, 1) == [packed_key(2, 1)] * 2


# ---- walks over packs of one's own making

MASTER = ("m-1", hashlib.sha256(b"a master").digest())


def named(version: int) -> str:
    return f"keystore/active/{version:016x}"


def test_what_the_root_page_has_and_what_the_head_says_must_agree() -> None:
    good, _ = crafting.pack(VAULT, 1, MASTER, {1: {0: KEY, 5: KEY}})
    assert found({named(1): good}, 1, 5, dict([MASTER])) == [KEY]
    refuse(found, {named(1): good}, 1, 0, dict([MASTER]))  # the index key is no record key
    for slots in ({0: KEY}, {2: KEY}, {1023: KEY}):
        more, _ = crafting.pack(VAULT, 1, MASTER, {1: {5: KEY}}, root_slots=slots)
        assert found({named(1): more}, 1, 5, dict([MASTER])) == []


def test_a_carried_page_opens_although_its_own_packs_master_is_dead() -> None:
    dead = ("m-0", hashlib.sha256(b"a dead master").digest())
    old, keys = crafting.pack(VAULT, 1, dead, {1: {5: KEY}, 2: {6: OTHER_KEY}})
    new, _ = crafting.pack(VAULT, 2, MASTER, {}, {1: (1, keys[1])})
    packs = {named(1): old, named(2): new}
    assert found(packs, 1, 5, dict([MASTER])) == [KEY]
    assert found(packs, 2, 6, dict([MASTER])) == []
    assert found(packs, 2, 6, dict([dead])) == [OTHER_KEY]


def test_of_two_packs_with_one_cohort_the_one_whose_sheet_opens_counts() -> None:
    lost, _ = crafting.pack(VAULT, 2, MASTER, {1: {5: OTHER_KEY}})
    won, _ = crafting.pack(VAULT, 1, MASTER, {1: {5: KEY}})
    trees = Trees({named(1): won, named(2): lost}, dict([MASTER]))
    manifest = a_manifest(KEY)
    assert open_record(trees, parse_manifest(f"records/{RECORD}", manifest)).key == KEY
    refuse(open_record, trees, parse_manifest(f"records/{RECORD}", a_manifest(MASTER[1])))


def test_newer_versions_come_first_and_active_before_held() -> None:
    keys = {version: hashlib.sha256(b"%d" % version).digest() for version in (1, 2, 300)}
    packs = {named(v): crafting.pack(VAULT, v, MASTER, {1: {5: key}})[0] for v, key in keys.items()}
    assert found(packs, 1, 5, dict([MASTER])) == [keys[300], keys[2], keys[1]]
    both = Trees(packs | PACKS, MASTERS | dict([MASTER])).record_keys(2, 1, ("active", "held"))
    assert [bytes(key) for _, key in both] == [packed_key(2, 1)] * 2


def test_heads_out_of_range_or_order_are_refused() -> None:
    blob, _ = crafting.pack(VAULT, 3, MASTER, {7: {5: KEY}}, {2: (1, KEY), 4: (2, KEY)})
    pack = parse_pack(named(3), blob)
    assert (dict(pack.carried), list(pack.pages)) == ({2: 1, 4: 2}, [7])
    one, two = blob[118:130], blob[130:142]
    for bad in (
        blob.replace(one + two, two + one),
        blob.replace(one, bytes(4) + one[4:]),
        blob.replace(two, (65_536).to_bytes(4, "big") + two[4:]),
        blob.replace(two, one),
        blob[:146] + (2).to_bytes(8, "big") + blob[154:],
        blob[:146] + (4).to_bytes(8, "big") + blob[154:],
        blob[:38] + b"M" + blob[39:],
        blob[:38] + bytes(64) + blob[102:],
        blob[:101] + b"x" + blob[102:],
    ):
        assert len(bad) == len(blob)
        assert bad != blob
        refuse(parse_pack, named(3), bad)


def test_versions_that_name_themselves_or_the_future_are_refused() -> None:
    for at in (2, 3):
        loop, _ = crafting.pack(VAULT, 2, MASTER, {}, {1: (at, KEY)})
        refuse(parse_pack, named(2), loop)
    twice, _ = crafting.pack(VAULT, 2, MASTER, {1: {5: KEY}}, {1: (1, KEY)})
    refuse(parse_pack, named(2), twice)


# ---- pages that open and are no pages


def page_of(message: bytes, number: int = 3) -> Callable[[], object]:
    sealed = crafting.seal(KEY, key_page_context(VAULT, "active", number, 1, 0 if number else 1), message)
    return lambda: open_page(KEY, VAULT, "active", number, 1, sealed)


def test_malformed_pages_are_refused() -> None:
    page_of(crafting.page_message({1: KEY, 9: OTHER_KEY}))()
    page_of(crafting.page_message({1: KEY}, 1), 0)()
    bits, body = crafting.bitmap({1, 9}), KEY + OTHER_KEY + bytes(PIECE - 64)
    for bad in (
        b"",
        body,
        crafting.trailer(bits, live=2),
        body + crafting.trailer(bits, live=1),
        body + crafting.trailer(bits, live=3),
        body + crafting.trailer(bits, live=2)[:13],
        body + crafting.trailer(bits, live=2, magic=b"SVKQ"),
        body + crafting.trailer(bits, live=2, form=2),
        body + crafting.trailer(bits, live=2, level=1),
        body + crafting.trailer(bits, live=2, capacity=1016),
        body + crafting.trailer(bits + bytes(128), live=2, capacity=2048),
        body + crafting.trailer(bits[:-1], live=2),
        body + crafting.trailer(bits + b"\x00", live=2),
        body + crafting.trailer(b"", live=0, capacity=0),
        body + crafting.trailer(crafting.bitmap(set()), live=0),
        body + bytes(PIECE) + crafting.trailer(bits, live=2),
        body[:-1] + b"\x01" + crafting.trailer(bits, live=2),
        body[:64] + crafting.trailer(bits, live=2),
        KEY * 512 + crafting.trailer(crafting.bitmap(set(range(513))), live=513),
    ):
        refuse(page_of(bad))
    for capacity in (0, 512, 1025, 65_536 + 1024):
        refuse(page_of(crafting.trailer(bytes(capacity // 8), live=0, level=1, capacity=capacity), 0))
    refuse(page_of(crafting.page_message({1: KEY}), 0))


# ---- record.json

R = V["record"]
R_KEY, R_VAULT = bytes.fromhex(R["record_key"]), bytes.fromhex(R["vault"])


def test_the_record_opens() -> None:
    sheet = open_sheet(R_KEY, R_VAULT, R["record"], b64(R["sheet"]["sealed"]))
    assert sheet.applicant == R["sheet"]["applicant"]
    slip = open_slip(R_KEY, R_VAULT, R["record"], R["document"], b64(R["slip"]["sealed"]))
    assert vars(slip) == {name: R["slip"][name] for name in ("name", "media_type", "size", "sha256")}
    bounds = {"sheet": sheet_context(R_VAULT, R["record"]), "slip": slip_context(R_VAULT, R["record"], R["document"])}
    for part, bound in bounds.items():
        text = unseal(R_KEY, bound, b64(R[part]["sealed"]))
        assert len(text) % 512 == 0
        assert text.rstrip(b" ").endswith(b"}")
    sealed, want = b64(R["document_body"]["sealed"]), b64(R["document_body"]["bytes"])
    for known in (slip, None):
        assert open_document(R_KEY, R_VAULT, R["record"], R["document"], sealed, known) == want
    padded = unseal(R_KEY, document_context(R_VAULT, R["record"], R["document"]), sealed)
    assert len(padded) == R["document_body"]["padded_size"] == padme(len(want) + 1)


def test_the_tags_agree() -> None:
    assert name_tag(R_KEY, R["record"], R["name_tag"]["name"]).hex() == R["name_tag"]["tag"]
    request = bytes.fromhex(R["body_tag"]["request_sha256"])
    assert body_tag(R_KEY, R["record"], request).hex() == R["body_tag"]["tag"]


def test_the_manifest_parses() -> None:
    manifest = parse_manifest(f"records/{R['record']}", b64(R["manifest"]))
    assert (manifest.record, manifest.sheet) == (R["record"], b64(R["sheet"]["sealed"]))
    (entry,) = manifest.documents
    assert (entry.id, entry.slip) == (R["document"], b64(R["slip"]["sealed"]))
    assert manifest.opened_at < manifest.completed_at
    assert manifest.due_on > manifest.completed_at.date()


@pytest.mark.parametrize("refusal", refusals("record"))
def test_records_refused(refusal: dict[str, Any]) -> None:
    bound = {
        "sheet": sheet_context(R_VAULT, R["record"]),
        "slip": slip_context(R_VAULT, R["record"], R["document"]),
        "document_body": document_context(R_VAULT, R["record"], R["document"]),
    }[refusal["of"]]
    blob = b64(R[refusal["of"]]["sealed"])
    unseal(R_KEY, bound, blob)
    key, bound, blob = changed(refusal, R_KEY, bound, blob)
    refuse(unseal, key, bound, blob)


# ---- sizes.json


def test_sizes() -> None:
    assert [[size, padme(size)] for size, _ in V["sizes"]["padme"]] == V["sizes"]["padme"]
    for size, sealed in V["sizes"]["sealed"]:
        assert HEAD + size + TAG * (size // PIECE + 1) == sealed
        if size < 50_000:
            assert len(unseal(KEY, b"", crafting.seal(KEY, b"", bytes(size)))) == size
    for case in V["sizes"]["bitmaps"]:
        assert crafting.bitmap(set(case["slots"]), case["capacity"]).hex() == case["bitmap"]


# ---- seals, sheets, slips, documents, manifests that must not open


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, 3 * PIECE, 3 * PIECE + 100])
def test_every_boundary_of_a_seal(size: int) -> None:
    message = hashlib.shake_256(b"message").digest(size)
    sealed = crafting.seal(KEY, b"context", message)
    assert unseal(KEY, b"context", sealed) == message
    starts = range(HEAD, len(sealed) + 1, PIECE + TAG)
    edges = {at + off for at in (0, 24, *starts, len(sealed)) for off in (-TAG - 1, -TAG, -1, 0, 1)}
    for at in edges & set(range(len(sealed))):
        refuse(unseal, KEY, b"context", flip(sealed, at))
        refuse(unseal, KEY, b"context", sealed[:at])
    for end in (b"\x00", bytes(TAG), bytes(PIECE + TAG), sealed[HEAD:]):
        refuse(unseal, KEY, b"context", sealed + end)
    if size > 2 * PIECE:
        a, b = sealed[HEAD : HEAD + PIECE + TAG], sealed[HEAD + PIECE + TAG : HEAD + 2 * (PIECE + TAG)]
        refuse(unseal, KEY, b"context", sealed.replace(a + b, b + a))
        refuse(unseal, KEY, b"context", sealed.replace(a + b, b))


def json_seal(bound: bytes, **members: object) -> bytes:
    return crafting.seal(KEY, bound, json.dumps(members).encode())


SLIP: dict[str, object] = {
    "v": 1,
    "name": "a.pdf",
    "media_type": "application/pdf",
    "size": 3,
    "sha256": hashlib.sha256(b"abc").hexdigest(),
}


def test_slips() -> None:
    bound = slip_context(VAULT, RECORD, DOCUMENT)

    def opening(sealed: bytes) -> Callable[[], object]:
        return lambda: open_slip(KEY, VAULT, RECORD, DOCUMENT, sealed)

    text = json.dumps(SLIP | {"unknown": [{}]})
    opening(crafting.seal(KEY, bound, f" \r\n\t{text}{' ' * 9}\n".encode()))()
    wrongs: list[dict[str, object]] = [
        {"v": 2}, {"v": True}, {"v": 1.0}, {"v": "1"}, {"v": None},
        {"size": 0}, {"size": 26_214_401}, {"size": 3.0}, {"size": -1},
        {"size": "3"}, {"name": ""}, {"name": "a/b"}, {"name": "x" * 121}, {"name": 1}, {"name": "\ud800"},
        {"media_type": "text/html"}, {"media_type": []}, {"sha256": "A" * 64}, {"sha256": "a" * 63}, {"sha256": None},
    ]  # fmt: skip
    for changes in wrongs:
        refuse(opening(json_seal(bound, **SLIP | changes)))
    for name in SLIP:
        refuse(opening(json_seal(bound, **{k: v for k, v in SLIP.items() if k != name})))
    for bad in (
        b"", b"[]", b"null", b"\xff", b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), text.encode()[:-1],
        text.encode() * 2, text.replace("{", '{"v": 1, ', 1).encode(), text.replace(": 3", ": NaN").encode(),
        text.replace(": 3", ": 3e0").encode(),
        text.replace(": 3", f": {'3' * 5000}").encode(), b"[" * 100_000, b'{"v":' * 100_000,
    ):  # fmt: skip
        refuse(opening(crafting.seal(KEY, bound, bad)))


def test_sheets() -> None:
    bound = sheet_context(VAULT, RECORD)
    twice = b'{"v": 1, "applicant": {"a": 1, "a": 1}}'
    refuse(open_sheet, KEY, VAULT, RECORD, crafting.seal(KEY, bound, twice))
    good: dict[str, Any] = {"v": 1, "applicant": {"any": [1, None]}}
    open_sheet(KEY, VAULT, RECORD, json_seal(bound, **good))
    open_sheet(KEY, VAULT, RECORD, json_seal(bound, **good | {"applicant": {"😀": "😀", "half": 0.5}, "other": 1}))
    wrongs: list[dict[str, Any]] = [
        {"v": 2}, {"applicant": []},
        {"applicant": {"name": "\ud800"}}, {"applicant": {"\udfff": 1}}, {"other": ["\ud83d"]},
    ]  # fmt: skip
    for changes in wrongs:
        sealed = json_seal(bound, **good | changes)
        refuse(open_sheet, KEY, VAULT, RECORD, sealed)


def test_nothing_opens_in_anothers_place() -> None:
    sheet = json_seal(sheet_context(VAULT, RECORD), v=1, applicant={})
    slip = json_seal(slip_context(VAULT, RECORD, DOCUMENT), **SLIP)
    body = crafting.seal(KEY, document_context(VAULT, RECORD, DOCUMENT), b"abc\x80")
    for opening in (
        lambda: open_sheet(KEY, bytes(16), RECORD, sheet),
        lambda: open_sheet(KEY, VAULT, OTHER_RECORD, sheet),
        lambda: open_sheet(OTHER_KEY, VAULT, RECORD, sheet),
        lambda: open_sheet(KEY, VAULT, RECORD, slip),
        lambda: open_slip(KEY, VAULT, OTHER_RECORD, DOCUMENT, slip),
        lambda: open_slip(KEY, VAULT, RECORD, RECORD, slip),
        lambda: open_slip(KEY, VAULT, DOCUMENT, RECORD, slip),
        lambda: open_slip(KEY, VAULT, RECORD, DOCUMENT, body),
        lambda: open_document(KEY, VAULT, OTHER_RECORD, DOCUMENT, body),
        lambda: open_document(KEY, VAULT, RECORD, OTHER_RECORD, body),
        lambda: open_document(KEY, VAULT, RECORD, DOCUMENT, slip),
    ):
        refuse(opening)


@pytest.mark.parametrize("size", [1, 2, 3, 100, 16_383, 16_384, 70_000])
def test_the_padding_of_documents(size: int) -> None:
    whole = bytes([0x80]) * size + b"\x80"
    padded = whole + bytes(padme(size + 1) - len(whole))
    assert unpad(padded) == whole[:-1]
    bad = [padded + b"\x00" * padme(size), whole[:-1] + b"\x01" + padded[size + 1 :], bytes(len(padded)), b""]
    if len(padded) > len(whole):
        bad += [padded[:-1], padded[:-1] + b"\x01"]
    for wrong in bad:
        refuse(unpad, wrong)


def test_a_body_that_is_not_its_slips_is_refused() -> None:
    bound = document_context(VAULT, RECORD, DOCUMENT)
    slip = open_slip(KEY, VAULT, RECORD, DOCUMENT, json_seal(slip_context(VAULT, RECORD, DOCUMENT), **SLIP))
    good = crafting.seal(KEY, bound, b"abc\x80")
    assert open_document(KEY, VAULT, RECORD, DOCUMENT, good, slip) == b"abc"
    for message in (b"abd\x80", b"ab\x80", b"abcd\x80\x00", b"abc\x80\x00", b"abc\x00", b"\x80"):
        sealed = crafting.seal(KEY, bound, message)
        refuse(open_document, KEY, VAULT, RECORD, DOCUMENT, sealed, slip)


def a_manifest(key: bytes, **changes: object) -> bytes:
    sheet = b'{"v": 1, "applicant": {}}'
    good = {
        "format": "shredvault/manifest/v1",
        "record": RECORD,
        "cohort": 1,
        "slot": 5,
        "policy": 1,
        "opened_at": "2026-01-31T09:00:00+00:00",
        "completed_at": "2026-01-31T09:00:00.123456+00:00",
        "due_on": "2028-02-29",
        "sheet": base64.b64encode(crafting.seal(key, sheet_context(VAULT, RECORD), sheet)).decode(),
        "documents": [{"id": DOCUMENT, "object": f"documents/{DOCUMENT}", "slip": ""}],
    }
    return json.dumps(good | changes).encode()


def test_malformed_manifests_are_refused() -> None:
    name = f"records/{RECORD}"
    entry = {"id": DOCUMENT, "object": f"documents/{DOCUMENT}", "slip": ""}
    parse_manifest(name, a_manifest(KEY))
    wrongs: list[dict[str, object]] = [
        {"format": "shredvault/manifest/v2"}, {"format": None}, {"record": OTHER_RECORD}, {"record": [RECORD]},
        {"cohort": 0}, {"cohort": 65_536}, {"cohort": 1.0}, {"cohort": True}, {"slot": 0}, {"slot": 1024},
        {"policy": "1"}, {"opened_at": "2026-01-31T09:00:00Z"}, {"opened_at": "2026-02-30T09:00:00+00:00"},
        {"completed_at": "2026-01-31"}, {"due_on": "2027-02-29"}, {"due_on": 0}, {"sheet": "=A"}, {"sheet": "a b="},
        {"documents": {}}, {"documents": [[]]}, {"documents": [entry, entry]}, {"documents": [entry | {"slip": 0}]},
        {"documents": [entry | {"object": f"keystore/active/{0:016x}"}]}, {"documents": [entry | {"id": "../" * 8}]},
        {"documents": [entry | {"object": "documents/../records"}]}, {"documents": [entry, entry | {"id": RECORD}]},
    ]  # fmt: skip
    for changes in wrongs:
        refuse(parse_manifest, name, a_manifest(KEY, **changes))
    refuse(parse_manifest, f"records/{OTHER_RECORD}", a_manifest(KEY))
    refuse(parse_manifest, name, b"")


def test_merkle_roots_of_rfc_6962() -> None:
    assert merkle_root([]) == hashlib.sha256(b"").digest()
    a, b, c = (hashlib.sha256(b"\x00" + one).digest() for one in (b"a", b"b", b"c"))
    ab = hashlib.sha256(b"\x01" + a + b).digest()
    assert merkle_root(["a"]) == a
    assert merkle_root(["a", "b", "c"]) == hashlib.sha256(b"\x01" + ab + c).digest()
