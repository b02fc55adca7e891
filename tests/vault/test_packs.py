"""Mirror packs: encoded and decoded without loss, refused when damaged, and enough to rebuild a tree."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystore import Key, KeystoreError, OpenTree, SealBrokenError, SealedPage, SealedRoot, StagedTree, Tree
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World
from vault import mirror
from vault.catalogue import keys
from vault.holds import place_hold
from vault.mirror import pack, pack_name, read_back, unpack, write
from vault.objects import ObjectStoreMisbehaved
from vault.reclaim import reclaim
from vault.sheets import Sheet

VAULT = bytes(range(16))
PAGE = st.builds(
    SealedPage,
    tree=st.just(Tree.HELD),
    cohort=st.integers(1, 65_535),
    version=st.integers(1, 2**63),
    live=st.binary(min_size=128, max_size=128),
    sealed=st.binary(max_size=200),
)
STAGED = st.builds(
    StagedTree,
    root=st.builds(
        SealedRoot,
        tree=st.just(Tree.HELD),
        epoch=st.integers(1, 2**63),
        version=st.integers(1, 2**63),
        master=st.text("abcdef-0123456789", min_size=1, max_size=64),
        wrapped_key=st.binary(max_size=100),
        sealed_page=st.binary(max_size=100),
    ),
    pages=st.lists(PAGE, max_size=4, unique_by=lambda page: page.cohort).map(tuple),
)
CARRIED = st.dictionaries(st.integers(1, 65_535), st.integers(1, 2**63), max_size=4)


@given(STAGED, CARRIED)
def test_what_was_packed_is_unpacked(staged: StagedTree, carried: dict[int, int]) -> None:
    carried = {cohort: v for cohort, v in carried.items() if cohort not in {page.cohort for page in staged.pages}}
    assert unpack(VAULT, bytes(pack(VAULT, staged, carried))) == (staged, carried)


@given(STAGED, CARRIED, st.data())
def test_a_pack_cut_or_lengthened_anywhere_is_refused(
    staged: StagedTree, carried: dict[int, int], data: st.DataObject
) -> None:
    carried = {cohort: v for cohort, v in carried.items() if cohort not in {page.cohort for page in staged.pages}}
    blob = bytes(pack(VAULT, staged, carried))
    for damaged in (blob[: data.draw(st.integers(0, len(blob) - 1))], blob + b"\0"):
        with pytest.raises(SealBrokenError):
            unpack(VAULT, damaged)


@given(STAGED, st.data())
def test_any_changed_byte_is_refused_or_gives_another_tree(staged: StagedTree, data: st.DataObject) -> None:
    blob = bytearray(pack(VAULT, staged, {}))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    try:
        found, carried = unpack(VAULT, bytes(blob))
    except SealBrokenError:
        return
    assert (found, carried) != (staged, {})


@given(st.binary(max_size=400))
def test_anything_else_is_refused(blob: bytes) -> None:
    for prefix in (b"", b"SVMP\x01", b"SVMP\x01" + VAULT + b"\x01"):
        with pytest.raises(SealBrokenError):
            unpack(VAULT, prefix + blob)


def test_a_pack_of_another_vault_or_name_is_refused(quick_world: World) -> None:
    bucket, vault_id = quick_world.vault.bucket, quick_world.vault.vault_id
    assert read_back(bucket, vault_id, Tree.ACTIVE, 1).root.version == 1
    with pytest.raises(SealBrokenError):
        read_back(bucket, VAULT, Tree.ACTIVE, 1)
    for tree, version in ((Tree.ACTIVE, 2), (Tree.HELD, 7)):
        bucket.put(pack_name(tree, version), bucket.get(pack_name(Tree.ACTIVE, 1), limit=10_000))
        with pytest.raises(SealBrokenError):
            read_back(bucket, vault_id, tree, version)


def test_damage_in_the_sealed_parts_does_not_open(quick_world: World) -> None:
    quick_world.file()
    vault = quick_world.vault
    with vault.catalogue.read() as tx:
        version = keys.current_root(tx, Tree.ACTIVE).version
    blob = vault.bucket.get(pack_name(Tree.ACTIVE, version), limit=10**6)
    honest, _ = unpack(vault.vault_id, blob)
    with OpenTree.open(vault.vault_id, honest.root, vault.custodian) as tree:
        tree.page(honest.pages[0]).wipe()
    random = Random(3)
    head = len(blob) - len(honest.pages[0].sealed) - len(honest.root.sealed_page) - len(honest.root.wrapped_key)
    for _ in range(150):
        at = random.randrange(head, len(blob))
        damaged = bytearray(blob)
        damaged[at] ^= 1 << random.randrange(8)
        staged, _ = unpack(vault.vault_id, bytes(damaged))
        assert staged != honest
        with pytest.raises(KeystoreError):  # noqa: SIM117
            with OpenTree.open(vault.vault_id, staged.root, vault.custodian) as tree:
                tree.page(staged.pages[0])


def test_a_changed_bitmap_epoch_or_version_does_not_open(quick_world: World) -> None:
    quick_world.file()
    vault = quick_world.vault
    with vault.catalogue.read() as tx:
        root, page = keys.current_root(tx, Tree.ACTIVE), keys.load_page(tx, Tree.ACTIVE, 1)
    wrong_roots = [
        replace(root, epoch=root.epoch + 1),
        replace(root, version=root.version + 1),
        replace(root, tree=Tree.HELD),
        replace(root, master=f"held-{vault.vault_id.hex()}"),
    ]
    for wrong in wrong_roots:
        with pytest.raises(SealBrokenError):
            OpenTree.open(vault.vault_id, wrong, vault.custodian)
    with OpenTree.open(vault.vault_id, root, vault.custodian) as tree:
        tree.page(page).wipe()
        for wrong_page in (replace(page, live=bytes(128)), replace(page, version=page.version + 1)):
            with pytest.raises(SealBrokenError):
                tree.page(wrong_page)


def walk_packs(world: World) -> dict[tuple[int, int], bytes]:
    """Every record key that the packs alone give, from the highest version of each tree down."""
    vault = world.vault
    found: dict[tuple[int, int], bytes] = {}
    for tree in Tree:
        packs = {}
        for name in vault.bucket.names(f"{mirror.PREFIX}{tree}/"):
            staged, carried = unpack(vault.vault_id, vault.bucket.get(name, limit=10**8))
            assert name == pack_name(tree, staged.root.version)
            packs[staged.root.version] = (staged, carried)
        for version in sorted(packs, reverse=True):
            staged, carried = packs[version]
            try:
                opened = OpenTree.open(vault.vault_id, staged.root, vault.custodian)
            except KeystoreError:
                continue
            pages = {page.cohort: page for page in staged.pages}
            with opened:
                for cohort, older in carried.items():
                    pages[cohort] = next(p for p in packs[older][0].pages if p.cohort == cohort)
                for cohort, sealed in pages.items():
                    with opened.page(sealed) as page:
                        for slot in range(1, 30):
                            if page.is_live(slot):
                                with page.key(slot) as key:
                                    found.setdefault((cohort, slot), bytes(key.reveal()))
            break
    return found


def test_the_packs_alone_give_every_living_key_and_no_other(quick_world: World) -> None:
    world = quick_world
    dead, held = world.file(), world.file()
    place_hold(world.vault, [held.id], "d")
    world.advance(days=740)
    others = []
    for _ in range(3):
        others.append(world.file())
        world.advance(days=10)
    for turn in range(2):
        world.sweep()
        if turn:
            reclaim(world.vault)
        walked = walk_packs(world)
        for record in [held, *others]:
            with Key(bytearray(walked[world.place(record)])) as key:
                sheet = world.value(f"SELECT sheet FROM records WHERE id = '{record.id}'")
                assert Sheet.open(key, world.vault.vault_id, record.id, sheet).applicant == record.applicant
        assert world.place(dead) not in walked


def test_a_pack_too_long_for_one_request_goes_in_parts(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "PUT_BYTES_MAX", 5 * 2**20)
    pages = tuple(SealedPage(Tree.ACTIVE, n, 9, bytes(128), bytes([n]) * 2**20) for n in range(1, 13))
    root = SealedRoot(Tree.ACTIVE, 1, 9, "m", b"w", b"p")
    staged = StagedTree(root, pages)
    vault = quick_world.vault
    size = write(vault.bucket, vault.vault_id, staged, {})
    assert size > 12 * 2**20
    assert read_back(vault.bucket, vault.vault_id, Tree.ACTIVE, 9) == staged
    assert isinstance(vault.bucket, MemoryBucket)
    assert not vault.bucket.s3.unfinished
    monkeypatch.setattr(mirror, "PACK_LIMIT_BYTES", 2**20)
    with pytest.raises(ObjectStoreMisbehaved):
        read_back(vault.bucket, vault.vault_id, Tree.ACTIVE, 9)
