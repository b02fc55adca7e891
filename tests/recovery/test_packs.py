"""Mirror packs: encoded and decoded without loss, refused when damaged, and enough to rebuild a tree."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystore import Key, KeystoreError, OpenTree, SealBrokenError, SealedPage, SealedRoot, StagedTree, Tree
from tests.vault.holding import place_hold
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import World
from vault.catalogue import Transaction, keys
from vault.destruction.reclaim import reclaim
from vault.errors import BusyError
from vault.objects import ObjectStoreMisbehaved
from vault.objects import bucket as buckets
from vault.records.sheets import Sheet
from vault.trees import mirror
from vault.trees.mirror import pack, pack_name, read_back, unpack, write

VAULT = bytes(range(16))


@st.composite
def packs(draw: st.DrawFn) -> tuple[StagedTree, dict[int, int]]:
    """A staged version, and what it carries over."""
    version = draw(st.integers(2, 2**63))
    places = draw(st.lists(st.integers(1, 65_535), max_size=8, unique=True))
    written = sorted(places[::2])
    blobs = st.binary(max_size=200)
    pages = [
        SealedPage(Tree.HELD, cohort, version, draw(st.binary(min_size=128, max_size=128)), draw(blobs))
        for cohort in written
    ]
    name = draw(st.text("abcdef-0123456789", min_size=1, max_size=64))
    root = SealedRoot(Tree.HELD, draw(st.integers(1, 2**63)), version, name, draw(blobs), draw(blobs))
    return StagedTree(root, tuple(pages)), {cohort: draw(st.integers(1, version - 1)) for cohort in places[1::2]}


@given(packs())
def test_what_was_packed_is_unpacked(packed: tuple[StagedTree, dict[int, int]]) -> None:
    assert unpack(VAULT, bytes(pack(VAULT, *packed))) == packed


@given(packs(), st.data())
def test_a_pack_cut_or_lengthened_anywhere_is_refused(
    packed: tuple[StagedTree, dict[int, int]], data: st.DataObject
) -> None:
    blob = bytes(pack(VAULT, *packed))
    for damaged in (blob[: data.draw(st.integers(0, len(blob) - 1))], blob + b"\0"):
        with pytest.raises(SealBrokenError):
            unpack(VAULT, damaged)


def test_heads_out_of_order_or_range_are_refused() -> None:
    one, two = (SealedPage(Tree.ACTIVE, cohort, 5, bytes(128), b"page") for cohort in (3, 9))
    root = SealedRoot(Tree.ACTIVE, 1, 5, "m-1", b"w", b"p")
    carried = {4: 1, 7: 4}
    honest = StagedTree(root, (one, two))
    blob = bytes(pack(VAULT, honest, carried))
    assert unpack(VAULT, blob) == (honest, carried)
    wrong: list[tuple[tuple[SealedPage, ...], dict[int, int], str]] = [
        ((two, one), carried, "m-1"),
        ((one, one), carried, "m-1"),
        ((one, replace(two, cohort=4)), carried, "m-1"),
        ((one, replace(two, cohort=65_536)), carried, "m-1"),
        ((replace(one, cohort=0), two), carried, "m-1"),
        ((one, replace(two, version=4)), carried, "m-1"),
        ((one, replace(two, version=6)), carried, "m-1"),
        ((one, two), {4: 0}, "m-1"),
        ((one, two), {4: 5}, "m-1"),
        ((one, two), {4: 6}, "m-1"),
        ((one, two), {0: 1}, "m-1"),
        ((one, two), {65_536: 1}, "m-1"),
        ((one, two), carried, "M-1"),
        ((one, two), carried, ""),
        ((one, two), carried, "m\n"),
        ((one, two), carried, "m\0m"),
    ]
    for pages, elsewhere, master in wrong:
        staged = StagedTree(replace(root, master=master), pages)
        with pytest.raises(SealBrokenError):
            unpack(VAULT, bytes(pack(VAULT, staged, elsewhere)))
    first, second = blob[118:130], blob[130:142]
    for changed in (second + first, first + first):
        with pytest.raises(SealBrokenError):
            unpack(VAULT, blob[:118] + changed + blob[142:])


@given(packs(), st.data())
def test_any_changed_byte_is_refused_or_gives_another_tree(
    packed: tuple[StagedTree, dict[int, int]], data: st.DataObject
) -> None:
    blob = bytearray(pack(VAULT, *packed))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    try:
        found, carried = unpack(VAULT, bytes(blob))
    except SealBrokenError:
        return
    assert (found, carried) != packed


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
    vault, custodian = quick_world.vault, quick_world.custodian
    with vault.catalogue.read() as tx:
        version = keys.current_root(tx, Tree.ACTIVE).version
    blob = vault.bucket.get(pack_name(Tree.ACTIVE, version), limit=10**6)
    honest, _ = unpack(vault.vault_id, blob)
    with OpenTree.open(vault.vault_id, honest.root, custodian) as tree:
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
            with OpenTree.open(vault.vault_id, staged.root, custodian) as tree:
                tree.page(staged.pages[0])


def test_a_changed_bitmap_epoch_or_version_does_not_open(quick_world: World) -> None:
    quick_world.file()
    vault, custodian = quick_world.vault, quick_world.custodian
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
            OpenTree.open(vault.vault_id, wrong, custodian)
    with OpenTree.open(vault.vault_id, root, custodian) as tree:
        tree.page(page).wipe()
        for wrong_page in (replace(page, live=bytes(128)), replace(page, version=page.version + 1)):
            with pytest.raises(SealBrokenError):
                tree.page(wrong_page)


def walk_packs(world: World) -> dict[tuple[int, int], bytes]:
    """Every record key that the packs alone give, from the highest version of each tree down."""
    vault, custodian = world.vault, world.custodian
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
                opened = OpenTree.open(vault.vault_id, staged.root, custodian)
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
    monkeypatch.setattr(buckets, "PUT_BYTES_MAX", 5 * 2**20)
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


def with_an_old_number(monkeypatch: pytest.MonkeyPatch, world: World, tree: Tree) -> list[int]:
    """The next staging's version number was taken before another change of the tree, and committed after it."""
    real = keys.take_version
    with world.vault.catalogue.write() as tx:
        early = [real(tx, tree)]
    given_out: list[int] = []

    def take(tx: Transaction, of: Tree) -> int:
        given_out.append(early.pop() if early and of is tree else real(tx, of))
        return given_out[-1]

    world.advance(days=10)
    world.file()
    monkeypatch.setattr(keys, "take_version", take)
    return given_out


def test_versions_only_go_up_in_a_destruction(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fence waits for a version: were it below the old one, nobody would be waited for."""
    world = quick_world
    first = world.file()
    given_out = with_an_old_number(monkeypatch, world, Tree.ACTIVE)
    with pytest.raises(BusyError):
        world.scrub()
    assert len(given_out) == 1
    world.assert_readable(first)
    done = world.scrub()
    assert done.staged_version is not None
    assert done.old_version is not None
    assert done.staged_version > done.old_version
    world.assert_destroyed(first)


def test_versions_only_go_up_when_a_cohort_opens(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = quick_world
    world.file()
    given_out = with_an_old_number(monkeypatch, world, Tree.ACTIVE)
    world.advance(days=10)
    world.file()
    with world.vault.catalogue.read() as tx:
        assert keys.current_root(tx, Tree.ACTIVE).version == given_out[-1]
    early, late = given_out
    assert early < late
    for name in world.vault.bucket.names(mirror.PREFIX):
        unpack(world.vault.vault_id, world.vault.bucket.get(name, limit=10**6))
    assert pack_name(Tree.ACTIVE, early) not in set(world.vault.bucket.names(mirror.PREFIX))


def test_a_version_below_the_current_one_is_never_switched_to(quick_world: World) -> None:
    quick_world.file()
    with quick_world.vault.catalogue.write() as tx:
        base = keys.current_root(tx, Tree.ACTIVE)
        for version in (base.version, base.version - 1):
            assert not keys.switch(tx, Tree.ACTIVE, base=base.version, to=version, dropped=())
            late = StagedTree(replace(base, version=version), ())
            assert not keys.switch_if_current(tx, late, base=base.version)
        assert keys.current_root(tx, Tree.ACTIVE) == base
