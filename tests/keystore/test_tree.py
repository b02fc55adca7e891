"""Trees: reading a path, and staging the next version."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from keystore import (
    EVERY_SLOT,
    Key,
    KeyPage,
    MasterGoneError,
    OpenTree,
    Rewrite,
    SealBrokenError,
    SealedPage,
    Tree,
    TreeChange,
    TreeFullError,
    WrongOrderError,
    slots_of,
    stage,
)
from keystore.page import MAX_COHORTS
from tests.keystore.trees import GIVEN_OUT, VAULT, Trees, bits, raw

ACTIVE, HELD = Tree.ACTIVE, Tree.HELD


def page_keys(trees: Trees, tree: Tree) -> dict[int, bytes]:
    with trees.open(tree) as opened:
        return {cohort: raw(opened.root_page.key(cohort)) for cohort in slots_of(opened.root_page.bitmap)}


def root_key(trees: Trees, tree: Tree) -> bytes:
    with trees.open(tree) as opened:
        return bytes(opened.root_key.reveal())


def test_every_record_key_is_reached(trees: Trees) -> None:
    for place, true in trees.true_keys.items():
        assert raw(trees.key(place)) == true
    assert raw(trees.key((2, 3), HELD)) == trees.true_keys[2, 3]


def test_what_is_not_there(trees: Trees) -> None:
    with trees.open(HELD) as held:
        page = trees.current_pages[HELD][2]
        for slot in (0, 1, 4, 1023):
            with pytest.raises(KeyError):
                held.record_key(page, slot)
        assert not held.has(1)
        with pytest.raises(KeyError):
            held.page(trees.current_pages[ACTIVE][1])


@pytest.mark.parametrize(
    "attack",
    [
        lambda root: replace(root, epoch=root.epoch + 1),
        lambda root: replace(root, version=root.version + 1),
        lambda root: replace(root, version=root.version - 1),
        lambda root: replace(root, tree=HELD),
        lambda root: replace(root, wrapped_key=root.wrapped_key[:-1] + bytes([root.wrapped_key[-1] ^ 1])),
        lambda root: replace(root, sealed_page=root.sealed_page[:-1]),
        lambda root: replace(root, sealed_page=b""),
    ],
    ids=["epoch", "version up", "version down", "tree", "wrap", "cut page", "no page"],
)
def test_a_root_does_not_stand_in_another_place(trees: Trees, attack: Callable[..., object]) -> None:
    root = trees.current[ACTIVE]
    OpenTree.open(VAULT, root, trees.custodian).wipe()
    with pytest.raises(SealBrokenError):
        OpenTree.open(VAULT, attack(root), trees.custodian)  # type: ignore[arg-type]
    with pytest.raises(SealBrokenError):
        OpenTree.open(bytes(16), root, trees.custodian)


def test_roots_do_not_exchange_their_parts(trees: Trees) -> None:
    old = trees.current[ACTIVE]
    trees.open_cohort(4)
    new = trees.current[ACTIVE]
    for mixed in (replace(new, sealed_page=old.sealed_page), replace(new, wrapped_key=old.wrapped_key)):
        with pytest.raises(SealBrokenError):
            OpenTree.open(VAULT, mixed, trees.custodian)


def test_a_root_that_does_not_open_leaves_no_root_key(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    unwrapped: list[Key] = []
    real = trees.custodian.unwrap

    def noted(name: str, wrapped: bytes, bound_to: bytes) -> Key:
        unwrapped.append(real(name, wrapped, bound_to))
        return unwrapped[-1]

    monkeypatch.setattr(trees.custodian, "unwrap", noted)
    with pytest.raises(SealBrokenError):
        OpenTree.open(VAULT, replace(trees.current[ACTIVE], sealed_page=b""), trees.custodian)
    assert len(unwrapped) == 1
    with pytest.raises(WrongOrderError):
        unwrapped[0].reveal()


@pytest.mark.parametrize(
    "attack",
    [
        lambda page: replace(page, cohort=2),
        lambda page: replace(page, version=page.version + 1),
        lambda page: replace(page, sealed=page.sealed[:-1] + bytes([page.sealed[-1] ^ 1])),
        lambda page: replace(page, live=bytes(128)),
        lambda page: replace(page, live=page.live + b"\0"),
        lambda page: replace(page, live=b""),
    ],
    ids=["cohort", "version", "altered", "bitmap", "longer bitmap", "no bitmap"],
)
def test_a_page_does_not_stand_in_another_place(trees: Trees, attack: Callable[[SealedPage], SealedPage]) -> None:
    page = trees.current_pages[ACTIVE][1]
    with trees.open(ACTIVE) as tree:
        tree.page(page).wipe()
        with pytest.raises(SealBrokenError):
            tree.page(attack(page))


def test_an_earlier_page_does_not_come_back(trees: Trees) -> None:
    before = trees.current_pages[ACTIVE][1]
    trees.destroy(ACTIVE, {(1, 1)})
    with trees.open(ACTIVE) as tree:
        tree.page(trees.current_pages[ACTIVE][1]).wipe()
        with pytest.raises(SealBrokenError):
            tree.page(before)
        with pytest.raises(SealBrokenError):
            tree.page(replace(before, version=trees.current_pages[ACTIVE][1].version))


def test_an_open_tree_ends(trees: Trees) -> None:
    with trees.open(ACTIVE) as tree:
        root_key, buffer = tree.root_key, tree.root_page._keys
        assert any(buffer)
    assert not any(buffer)
    with pytest.raises(WrongOrderError):
        root_key.reveal()
    with pytest.raises(WrongOrderError):
        tree.page(trees.current_pages[ACTIVE][1])


# --- staging ------------------------------------------------------------------------------------------


def test_rewriting_draws_a_fresh_key_every_time(trees: Trees) -> None:
    seen = {root_key(trees, ACTIVE)} | set(page_keys(trees, ACTIVE).values())
    for _ in range(5):
        before = page_keys(trees, ACTIVE)
        trees.take(trees.stage(ACTIVE, TreeChange(rewritten={1: Rewrite(EVERY_SLOT)})))
        after = page_keys(trees, ACTIVE)
        assert {after[2], after[3]} == {before[2], before[3]}
        assert not {after[1], root_key(trees, ACTIVE)} & seen
        seen |= {after[1], root_key(trees, ACTIVE)}
        for place, true in trees.true_keys.items():
            assert raw(trees.key(place)) == true


def test_survivors_are_carried_and_the_condemned_are_gone(trees: Trees) -> None:
    trees.destroy(ACTIVE, {(1, 1), (1, 5), (3, 2)})
    assert trees.living == set(trees.true_keys) - {(1, 1), (1, 5), (3, 2)}
    for place in trees.living:
        assert raw(trees.key(place)) == trees.true_keys[place]
    for place in trees.gone:
        with pytest.raises(KeyError):
            trees.key(place)


def test_slots_never_given_out_are_dropped_with_the_condemned(trees: Trees) -> None:
    trees.destroy(ACTIVE, {(1, 1)})
    assert list(slots_of(trees.current_pages[ACTIVE][1].live)) == [0, 2, 3, 4, 5]


def test_dropped_cohorts_are_not_read_and_gone(trees: Trees) -> None:
    page = trees.current_pages[ACTIVE][1]
    trees.current_pages[ACTIVE][1] = replace(page, sealed=b"unreadable")
    trees.destroy(ACTIVE, {(1, slot) for slot in GIVEN_OUT})
    assert sorted(page_keys(trees, ACTIVE)) == [2, 3]
    with trees.open(ACTIVE) as tree, pytest.raises(KeyError):
        tree.page(page)


def test_a_cohort_opens_once(trees: Trees) -> None:
    before = list(trees.roots)
    with pytest.raises(WrongOrderError, match="opened once"):
        trees.stage(ACTIVE, TreeChange(opened=(2,)))
    assert trees.roots == before
    assert raw(trees.key((2, 1))) == trees.true_keys[2, 1]


@pytest.mark.parametrize(
    "change",
    [
        TreeChange(opened=(4,), dropped=(4,)),
        TreeChange(opened=(4,), rewritten={4: Rewrite(EVERY_SLOT)}),
        TreeChange(rewritten={1: Rewrite(EVERY_SLOT)}, dropped=(1,)),
    ],
    ids=["opened and dropped", "opened and rewritten", "rewritten and dropped"],
)
def test_contradictions_are_refused(trees: Trees, change: TreeChange) -> None:
    before = list(trees.roots)
    with pytest.raises(WrongOrderError, match="one of the three"):
        trees.stage(ACTIVE, change)
    assert trees.roots == before


@pytest.mark.parametrize("number", [MAX_COHORTS + 1, 2**31])
def test_a_tree_can_be_full(trees: Trees, number: int) -> None:
    trees.open_cohort(MAX_COHORTS)
    assert raw(trees.key((MAX_COHORTS, 1))) == trees.true_keys[MAX_COHORTS, 1]
    before = trees.current[ACTIVE]
    with pytest.raises(TreeFullError):
        trees.stage(ACTIVE, TreeChange(opened=(number,)))
    assert trees.current[ACTIVE] == before
    for place, true in trees.true_keys.items():
        assert raw(trees.key(place)) == true


@pytest.mark.parametrize("number", [1022, 1023, 1024, 1025, 2047, 2048])
def test_the_root_page_grows_at_its_edges_and_shrinks_again(trees: Trees, number: int) -> None:
    trees.open_cohort(number)
    with trees.open(ACTIVE) as tree:
        assert tree.root_page.capacity == (number // 1024 + 1) * 1024
    for place, true in trees.true_keys.items():
        assert raw(trees.key(place)) == true
    trees.destroy(ACTIVE, {(number, slot) for slot in GIVEN_OUT})
    with trees.open(ACTIVE) as tree:
        assert tree.root_page.capacity == 1024
    assert raw(trees.key((1, 1))) == trees.true_keys[1, 1]


def test_a_damaged_base_page_stops_the_staging(trees: Trees) -> None:
    trees.current_pages[ACTIVE][1] = replace(trees.current_pages[ACTIVE][1], sealed=bytes(33_000))
    before = list(trees.roots)
    with pytest.raises(SealBrokenError):
        trees.stage_destruction(ACTIVE, {(1, 1)}, trees.new_master(ACTIVE))
    assert trees.roots == before


def test_a_staging_without_its_master_fails(trees: Trees) -> None:
    with pytest.raises(MasterGoneError):
        trees.stage(ACTIVE, TreeChange(), master="never-made")


def test_a_wiped_base_is_refused(trees: Trees) -> None:
    """Or every carried key would come out as zeros."""
    base = trees.open(ACTIVE)
    base.wipe()
    with pytest.raises(WrongOrderError):
        stage(
            VAULT,
            base,
            TreeChange(),
            trees.loader(ACTIVE),
            tree=ACTIVE,
            epoch=1,
            version=99,
            master=trees.current[ACTIVE].master,
            custodian=trees.custodian,
        )


def test_no_repr_shows_a_blob_or_a_key(trees: Trees) -> None:
    root, page = trees.current[ACTIVE], trees.current_pages[ACTIVE][1]
    with trees.open(ACTIVE) as tree, Key(bytearray(b"SECRET__" * 4)) as key:
        shown = repr((root, page, tree, tree.root_page, TreeChange(rewritten={1: Rewrite(bits([1]), {1: key})})))
    assert "sealed" not in shown
    assert "wrapped" not in shown
    assert "SECRET" not in shown


def test_every_key_of_a_staging_is_wiped(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[Key] = []
    real = Key.generate.__func__  # type: ignore[attr-defined]

    def noted(cls: type[Key]) -> Key:
        keys.append(real(cls))
        return keys[-1]

    pages: list[KeyPage] = []
    made = KeyPage.__init__

    def kept(self: KeyPage, *arguments: object) -> None:
        made(self, *arguments)  # type: ignore[arg-type]
        pages.append(self)

    monkeypatch.setattr(Key, "generate", classmethod(noted))
    monkeypatch.setattr(KeyPage, "__init__", kept)
    trees.stage_destruction(ACTIVE, {(1, 1), (3, 1)}, trees.current[ACTIVE].master)
    assert len(keys) == 3
    for key in keys:
        with pytest.raises(WrongOrderError):
            key.reveal()
    assert pages
    assert not any(any(page._keys) for page in pages)
