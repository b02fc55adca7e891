"""The product still reads the frozen vectors, and refuses every change that they list."""

import base64
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from keystore import (
    Key,
    KeyPage,
    OpenTree,
    PageName,
    SealBrokenError,
    SealedPage,
    Tree,
    context,
    open_sealed,
    sealed_size,
    slots_of,
    slots_to_bitmap,
)
from keystore.custodians import FileCustodian
from keystore.tree import root_context
from vault.ids import DocumentId, RecordId
from vault.records.documents import padme
from vault.records.sheets import Sheet, Slip, body_tag, document_context, name_tag
from vault.trees.mirror import pack, pack_name, unpack

FOLDER = Path(__file__).parent
SIZE_LIMIT = 400 * 1024


def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_bytes())


def label(vector: dict[str, Any]) -> str:
    if "of" not in vector:
        return str(vector["name"])
    change, value = next((key, vector[key]) for key in vector if key != "of")
    text = str(value)
    return f"{vector['of']}: {change} {text if len(text) < 40 else hashlib.sha256(text.encode()).hexdigest()[:8]}"


OBJECTS = vectors("sealed-object")
PAGES = vectors("key-page")
ROOTS = vectors("root-key")
PACKS = vectors("mirror-pack")
RECORD = vectors("record")
SIZES = vectors("sizes")


def key_of(text: str) -> Key:
    return Key(bytearray.fromhex(text))


def changed(blob: bytes, change: dict[str, Any]) -> bytes:
    if "truncate_to" in change:
        return blob[: change["truncate_to"]]
    if "append" in change:
        return blob + bytes.fromhex(change["append"])
    if "flip_bit_0_of_byte" in change:
        altered = bytearray(blob)
        altered[change["flip_bit_0_of_byte"]] ^= 1
        return bytes(altered)
    return blob


def case_of(vectors: dict[str, Any], refusal: dict[str, Any]) -> dict[str, Any]:
    (case,) = [case for case in vectors["cases"] if case["name"] == refusal["of"]]
    return dict(case)


def page_name(case: dict[str, Any]) -> PageName:
    return PageName(bytes.fromhex(case["vault"]), Tree(case["tree"]), case["number"], case["version"])


def custodian_with(master: str, name: str, folder: Path) -> FileCustodian:
    custodian = FileCustodian(folder / "keys", away_from=folder / "home")
    (folder / "keys" / f"{name}.master").write_bytes(bytes.fromhex(master))
    return custodian


def test_the_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json")) < SIZE_LIMIT


@pytest.mark.parametrize("case", OBJECTS["contexts"], ids=lambda case: f"{case['label']}+{len(case['fields'])}")
def test_contexts(case: dict[str, Any]) -> None:
    assert context(case["label"], *map(bytes.fromhex, case["fields"])).hex() == case["context"]


@pytest.mark.parametrize("case", OBJECTS["cases"], ids=label)
def test_sealed_objects_open(case: dict[str, Any]) -> None:
    sealed = base64.b64decode(case["sealed"])
    assert len(sealed) == sealed_size(case["size"])
    with key_of(case["key"]) as key:
        plaintext = open_sealed(key, bytes.fromhex(case["context"]), sealed)
    assert len(plaintext) == case["size"]
    assert hashlib.sha256(plaintext).hexdigest() == case["sha256"]


@pytest.mark.parametrize("refusal", OBJECTS["refusals"], ids=label)
def test_changed_sealed_objects_do_not_open(refusal: dict[str, Any]) -> None:
    case = case_of(OBJECTS, refusal)
    sealed = changed(base64.b64decode(case["sealed"]), refusal)
    bound_to = bytes.fromhex(refusal.get("context", case["context"]))
    with key_of(refusal.get("key", case["key"])) as key, pytest.raises(SealBrokenError):
        open_sealed(key, bound_to, sealed)


@pytest.mark.parametrize("case", PAGES["cases"], ids=label)
def test_key_pages_open(case: dict[str, Any]) -> None:
    assert page_name(case).context().hex() == case["context"]
    assert page_name(case).level == case["level"]
    with (
        key_of(case["page_key"]) as key,
        KeyPage.open(page_name(case), key, base64.b64decode(case["sealed"])) as page,
    ):
        assert (page.level, page.capacity) == (case["level"], case["capacity"])
        assert page.bitmap == base64.b64decode(case["bitmap"])
        assert list(slots_of(page.bitmap)) == case["live"]
        for slot in case["live"]:
            with page.key(slot) as slot_key:
                assert slot_key.reveal() == hashlib.sha256(f"shredvault test key slot {slot}".encode()).digest()


@pytest.mark.parametrize("refusal", PAGES["refusals"], ids=label)
def test_changed_key_pages_do_not_open(refusal: dict[str, Any]) -> None:
    case = case_of(PAGES, refusal)
    sealed = changed(base64.b64decode(case["sealed"]), refusal)
    bound_to = bytes.fromhex(refusal.get("context", case["context"]))
    with key_of(refusal.get("key", case["page_key"])) as key, pytest.raises(SealBrokenError):
        open_sealed(key, bound_to, sealed)
    if "context" not in refusal:
        with key_of(refusal.get("key", case["page_key"])) as key, pytest.raises(SealBrokenError):
            KeyPage.open(page_name(case), key, sealed)


def test_the_root_key_unwraps(tmp_path: Path) -> None:
    (case,) = ROOTS["cases"]
    bound_to = root_context(bytes.fromhex(case["vault"]), Tree(case["tree"]), case["epoch"], case["version"])
    assert bound_to.hex() == case["context"]
    custodian = custodian_with(case["master"], "m", tmp_path)
    with custodian.unwrap("m", base64.b64decode(case["wrapped"]), bound_to) as root_key:
        assert root_key.reveal().hex() == case["root_key"]


@pytest.mark.parametrize("refusal", ROOTS["refusals"], ids=label)
def test_changed_wraps_do_not_unwrap(refusal: dict[str, Any], tmp_path: Path) -> None:
    case = case_of(ROOTS, refusal)
    custodian = custodian_with(refusal.get("key", case["master"]), "m", tmp_path)
    wrapped = changed(base64.b64decode(case["wrapped"]), refusal)
    with pytest.raises(SealBrokenError):
        custodian.unwrap("m", wrapped, bytes.fromhex(refusal.get("context", case["context"])))


def test_mirror_packs_open_down_to_the_record_keys(tmp_path: Path) -> None:
    vault = bytes.fromhex(PACKS["vault"])
    pages: dict[int, SealedPage] = {}
    for case in PACKS["packs"]:
        blob = base64.b64decode(case["pack"])
        staged, carried = unpack(vault, blob)
        root = staged.root
        assert case["object"] == pack_name(root.tree, root.version)
        assert (root.tree, root.epoch, root.version) == (case["tree"], case["epoch"], case["version"])
        assert root.master == case["master_name"]
        assert carried == dict(case["carried"])
        assert pack(vault, staged, carried) == blob
        pages |= {page.cohort: page for page in staged.pages}
        custodian = custodian_with(PACKS["master"], root.master, tmp_path)
        with OpenTree.open(vault, root, custodian) as tree:
            assert list(slots_of(tree.root_page.bitmap)) == sorted([*carried, *(page[0] for page in case["pages"])])
            for cohort in slots_of(tree.root_page.bitmap):
                assert pages[cohort].version == carried.get(cohort, root.version)
                for slot in slots_of(pages[cohort].live):
                    with tree.record_key(pages[cohort], slot) as key:
                        rule = f"shredvault test key cohort {cohort} slot {slot}"
                        assert key.reveal() == hashlib.sha256(rule.encode()).digest()


@pytest.mark.parametrize("cut", [0, 4, 5, 20, 100, -1])
def test_shortened_and_foreign_packs_are_refused(cut: int) -> None:
    blob = base64.b64decode(PACKS["packs"][1]["pack"])
    vault = bytes.fromhex(PACKS["vault"])
    unpack(vault, blob)
    with pytest.raises(SealBrokenError):
        unpack(vault, blob[:cut])
    with pytest.raises(SealBrokenError):
        unpack(vault, blob + b"\0")
    with pytest.raises(SealBrokenError):
        unpack(bytes(16), blob)


def test_a_record_opens() -> None:
    vault, record, document = bytes.fromhex(RECORD["vault"]), RecordId(RECORD["record"]), DocumentId(RECORD["document"])
    sheet, slip, body = RECORD["sheet"], RECORD["slip"], RECORD["document_body"]
    with key_of(RECORD["record_key"]) as key:
        opened = Sheet.open(key, vault, record, base64.b64decode(sheet["sealed"]))
        assert opened.applicant == sheet["applicant"]
        for sealed in (sheet["sealed"], slip["sealed"]):
            assert len(base64.b64decode(sealed)) in {sealed_size(512), sealed_size(1024)}
        seen = Slip.open(key, vault, record, document, base64.b64decode(slip["sealed"]))
        assert seen == Slip(slip["name"], slip["media_type"], slip["size"], slip["sha256"])
        plaintext = open_sealed(key, document_context(vault, record, document), base64.b64decode(body["sealed"]))
        assert name_tag(key, record, RECORD["name_tag"]["name"]).hex() == RECORD["name_tag"]["tag"]
        request = bytes.fromhex(RECORD["body_tag"]["request_sha256"])
        assert body_tag(key, record, request).hex() == RECORD["body_tag"]["tag"]
    true = base64.b64decode(body["bytes"])
    assert len(plaintext) == body["padded_size"] == padme(len(true) + 1)
    assert plaintext == (true + b"\x80").ljust(len(plaintext), b"\0")
    assert hashlib.sha256(true).hexdigest() == slip["sha256"]


@pytest.mark.parametrize("refusal", RECORD["refusals"], ids=label)
def test_blobs_of_a_record_do_not_stand_for_each_other(refusal: dict[str, Any]) -> None:
    sealed = base64.b64decode(RECORD[refusal["of"]]["sealed"])
    with key_of(RECORD["record_key"]) as key, pytest.raises(SealBrokenError):
        open_sealed(key, bytes.fromhex(refusal["context"]), sealed)


def test_the_manifest_says_where_everything_is() -> None:
    manifest = json.loads(base64.b64decode(RECORD["manifest"]))
    assert manifest["format"] == "shredvault/manifest/v1"
    assert manifest["record"] == RECORD["record"]
    assert manifest["sheet"] == RECORD["sheet"]["sealed"]
    (document,) = manifest["documents"]
    assert (document["id"], document["slip"]) == (RECORD["document"], RECORD["slip"]["sealed"])
    assert date.fromisoformat(manifest["due_on"]) == date(2028, 2, 1)


def test_sizes() -> None:
    assert [[size, padme(size)] for size, _ in SIZES["padme"]] == SIZES["padme"]
    assert [[size, sealed_size(size)] for size, _ in SIZES["sealed"]] == SIZES["sealed"]
    for case in SIZES["bitmaps"]:
        assert slots_to_bitmap(case["slots"], case["capacity"]).hex() == case["bitmap"]
        assert list(slots_of(bytes.fromhex(case["bitmap"]))) == case["slots"]
