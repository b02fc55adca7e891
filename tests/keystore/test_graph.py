"""The key-graph check: every deliberate fault in what was staged must stop the destruction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from keystore import (
    COHORT_SLOTS,
    GraphReport,
    Key,
    KeyGraphError,
    KeyPage,
    OpenTree,
    PageName,
    SealedPage,
    SealedRoot,
    StagedTree,
    Tree,
    slots_of,
    slots_to_bitmap,
)
from keystore.tree import root_context
from tests.keystore.trees import GIVEN_OUT, VAULT, Trees, raw

ACTIVE = Tree.ACTIVE
VERSION = 77
# Cohort 1 is rewritten without its first record, cohort 3 dropped, cohort 2 carried over.
DOOMED = {(1, 1), *((3, slot) for slot in GIVEN_OUT)}


@dataclass
class Draft:
    """A staged tree in the open, to be changed before it is sealed."""

    root_key: bytes
    page_keys: dict[int, bytes]
    records: dict[int, bytes]
    """Cohort 1's keys, by slot."""
    master: str

    def seal(self, trees: Trees) -> StagedTree:
        with Key(bytearray(self.page_keys.get(1, bytes(32)))) as page_key:
            page = packed(0, COHORT_SLOTS, self.records)
            sealed = page.seal(PageName(VAULT, ACTIVE, 1, VERSION), page_key)
        with Key(bytearray(self.root_key)) as root_key:
            root_page = packed(1, 1024, self.page_keys).seal(PageName(VAULT, ACTIVE, 0, VERSION), root_key)
            epoch = trees.current[ACTIVE].epoch + 1
            wrapped = trees.custodian.wrap(self.master, root_key, root_context(VAULT, ACTIVE, epoch, VERSION))
        root = SealedRoot(ACTIVE, epoch, VERSION, self.master, wrapped, bytes(root_page))
        return StagedTree(root, (SealedPage(ACTIVE, 1, VERSION, page.bitmap, bytes(sealed)),))


def packed(level: int, capacity: int, keys: dict[int, bytes]) -> KeyPage:
    live = sorted(keys)
    return KeyPage(level, capacity, slots_to_bitmap(live, capacity), bytearray(b"".join(keys[slot] for slot in live)))


def opened_keys(page: KeyPage) -> dict[int, bytes]:
    with page:
        return {slot: raw(page.key(slot)) for slot in slots_of(page.bitmap)}


@pytest.fixture
def draft(trees: Trees) -> Draft:
    """What an honest staging gives."""
    staged = trees.stage_destruction(ACTIVE, DOOMED, trees.new_master(ACTIVE))
    with OpenTree.open(VAULT, staged.root, trees.custodian) as tree:
        (page,) = staged.pages
        return Draft(
            bytes(tree.root_key.reveal()),
            {cohort: raw(tree.root_page.key(cohort)) for cohort in slots_of(tree.root_page.bitmap)},
            opened_keys(tree.page(page)),
            staged.root.master,
        )


@pytest.fixture
def old(trees: Trees) -> Iterator[OpenTree]:
    with trees.open(ACTIVE) as tree:
        yield tree


def all_open(trees: Trees) -> bool:
    return all(raw(trees.key(place)) == true for place, true in trees.true_keys.items())


def test_what_is_honestly_staged_passes(trees: Trees, draft: Draft) -> None:
    assert trees.check(DOOMED, draft.seal(trees)) == GraphReport(1, 1, 4)
    staged = trees.stage_destruction(ACTIVE, DOOMED, trees.new_master(ACTIVE))
    assert trees.check(DOOMED, staged) == GraphReport(cohorts_carried=1, pages_opened=1, survivors_opened=4)


def test_nothing_to_rewrite_passes(trees: Trees) -> None:
    staged = trees.stage_destruction(ACTIVE, (), trees.new_master(ACTIVE))
    assert trees.check((), staged) == GraphReport(3, 0, 0)


Mutant = Callable[[Draft, Trees, OpenTree], None]


def mutant_same_master(draft: Draft, trees: Trees, _: OpenTree) -> None:
    draft.master = trees.current[ACTIVE].master


def mutant_root_key_reused(draft: Draft, _: Trees, old: OpenTree) -> None:
    draft.root_key = bytes(old.root_key.reveal())


def mutant_carried_cohort_missing(draft: Draft, *_: object) -> None:
    del draft.page_keys[2]


def mutant_rewritten_cohort_missing(draft: Draft, *_: object) -> None:
    del draft.page_keys[1]


def mutant_dropped_cohort_still_there(draft: Draft, _: Trees, old: OpenTree) -> None:
    draft.page_keys[3] = raw(old.root_page.key(3))


def mutant_cohort_added(draft: Draft, *_: object) -> None:
    draft.page_keys[4] = b"4" * 32


def mutant_slot_zero_of_the_root_live(draft: Draft, *_: object) -> None:
    draft.page_keys[0] = b"0" * 32


def mutant_carried_key_changed(draft: Draft, *_: object) -> None:
    draft.page_keys[2] = bytes([draft.page_keys[2][0] ^ 1, *draft.page_keys[2][1:]])


def mutant_carried_key_of_another_cohort(draft: Draft, _: Trees, old: OpenTree) -> None:
    draft.page_keys[2] = raw(old.root_page.key(3))


def mutant_page_key_reused(draft: Draft, _: Trees, old: OpenTree) -> None:
    draft.page_keys[1] = raw(old.root_page.key(1))


def mutant_condemned_still_live(draft: Draft, trees: Trees, _: OpenTree) -> None:
    draft.records[1] = trees.true_keys[1, 1]


def mutant_condemned_live_with_another_key(draft: Draft, *_: object) -> None:
    draft.records[1] = b"1" * 32


def mutant_survivor_missing(draft: Draft, *_: object) -> None:
    del draft.records[5]


def mutant_survivors_key_changed(draft: Draft, *_: object) -> None:
    draft.records[3] = bytes([*draft.records[3][:31], draft.records[3][31] ^ 0x80])


def mutant_survivors_exchanged(draft: Draft, *_: object) -> None:
    draft.records[2], draft.records[3] = draft.records[3], draft.records[2]


def mutant_survivor_replaced_by_the_condemned(draft: Draft, trees: Trees, _: OpenTree) -> None:
    draft.records[2] = trees.true_keys[1, 1]


def mutant_survivor_of_another_cohort(draft: Draft, trees: Trees, _: OpenTree) -> None:
    draft.records[2] = trees.true_keys[2, 2]


def mutant_empty_page(draft: Draft, *_: object) -> None:
    draft.records.clear()


MUTANTS = [
    (mutant_same_master, "master"),
    (mutant_root_key_reused, "root key"),
    (mutant_carried_cohort_missing, "exactly the cohorts"),
    (mutant_rewritten_cohort_missing, "exactly the cohorts"),
    (mutant_dropped_cohort_still_there, "exactly the cohorts"),
    (mutant_cohort_added, "exactly the cohorts"),
    (mutant_slot_zero_of_the_root_live, "exactly the cohorts"),
    (mutant_carried_key_changed, "Cohort 2 is not carried"),
    (mutant_carried_key_of_another_cohort, "Cohort 2 is not carried"),
    (mutant_page_key_reused, "page key of cohort 1 is not new"),
    (mutant_condemned_still_live, "condemned record of cohort 1"),
    (mutant_condemned_live_with_another_key, "condemned record of cohort 1"),
    (mutant_survivor_missing, "survivor of cohort 1"),
    (mutant_survivors_key_changed, "survivor of cohort 1"),
    (mutant_survivors_exchanged, "survivor of cohort 1"),
    (mutant_survivor_replaced_by_the_condemned, "survivor of cohort 1"),
    (mutant_survivor_of_another_cohort, "survivor of cohort 1"),
    (mutant_empty_page, "survivor of cohort 1"),
]


@pytest.mark.parametrize(("mutant", "says"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS])
def test_every_fault_is_refused(trees: Trees, draft: Draft, old: OpenTree, mutant: Mutant, says: str) -> None:
    trees.check(DOOMED, draft.seal(trees))
    mutant(draft, trees, old)
    with pytest.raises(KeyGraphError, match=says):
        trees.check(DOOMED, draft.seal(trees))
    assert all_open(trees), "nothing has died"


def mutant_page_key_of_the_dropped_cohort(draft: Draft, _: Trees, old: OpenTree) -> None:
    """Whoever opens the new tree has the key of the old page of cohort 3."""
    draft.page_keys[1] = raw(old.root_page.key(3))


def mutant_page_key_is_the_old_root_key(draft: Draft, _: Trees, old: OpenTree) -> None:
    """Whoever opens the new tree opens the old root page, and everything below it."""
    draft.page_keys[1] = bytes(old.root_key.reveal())


def mutant_root_key_is_an_old_page_key(draft: Draft, _: Trees, old: OpenTree) -> None:
    draft.root_key = raw(old.root_page.key(1))


def mutant_condemned_key_in_a_free_slot(draft: Draft, trees: Trees, _: OpenTree) -> None:
    draft.records[900] = trees.true_keys[1, 1]


def mutant_condemned_key_as_index_key(draft: Draft, trees: Trees, _: OpenTree) -> None:
    draft.records[0] = trees.true_keys[1, 1]


WIDER = [
    mutant_page_key_of_the_dropped_cohort,
    mutant_page_key_is_the_old_root_key,
    mutant_root_key_is_an_old_page_key,
    mutant_condemned_key_in_a_free_slot,
    mutant_condemned_key_as_index_key,
]


@pytest.mark.parametrize("mutant", WIDER)
def test_no_old_key_comes_back_in_another_place(trees: Trees, draft: Draft, old: OpenTree, mutant: Mutant) -> None:
    trees.check(DOOMED, draft.seal(trees))
    mutant(draft, trees, old)
    with pytest.raises(KeyGraphError):
        trees.check(DOOMED, draft.seal(trees))


def flip(blob: bytes, at: int) -> bytes:
    return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]


@pytest.mark.parametrize("at", [0, 30, 60, -1])
def test_damaged_pages_are_refused(trees: Trees, draft: Draft, at: int) -> None:
    staged = draft.seal(trees)
    (page,) = staged.pages
    damaged = replace(page, sealed=flip(page.sealed, at % len(page.sealed)))
    with pytest.raises(KeyGraphError, match="does not open"):
        trees.check(DOOMED, replace(staged, pages=(damaged,)))
    with pytest.raises(KeyGraphError, match="does not open"):
        trees.check(DOOMED, replace(staged, pages=(replace(page, live=bytes(128)),)))
    assert all_open(trees)


@pytest.mark.parametrize("part", ["wrapped_key", "sealed_page"])
@pytest.mark.parametrize("at", [0, 30, 59, -1])
def test_damaged_roots_are_refused(trees: Trees, draft: Draft, part: str, at: int) -> None:
    staged = draft.seal(trees)
    blob = getattr(staged.root, part)
    for broken in (flip(blob, at % len(blob)), blob[:-1], b""):
        root = replace(staged.root, **{part: broken})  # type: ignore[arg-type]
        with pytest.raises(KeyGraphError, match="does not open"):
            trees.check(DOOMED, replace(staged, root=root))
    assert all_open(trees)


@pytest.mark.parametrize("part", ["epoch", "version"])
def test_a_root_of_another_place_is_refused(trees: Trees, draft: Draft, part: str) -> None:
    staged = draft.seal(trees)
    root = replace(staged.root, **{part: getattr(staged.root, part) + 1})
    with pytest.raises(KeyGraphError, match="does not open"):
        trees.check(DOOMED, replace(staged, root=root))


def test_a_page_of_an_earlier_staging_is_refused(trees: Trees) -> None:
    first = trees.stage_destruction(ACTIVE, DOOMED, trees.new_master(ACTIVE))
    second = trees.stage_destruction(ACTIVE, DOOMED, trees.new_master(ACTIVE))
    with pytest.raises(KeyGraphError, match="does not open"):
        trees.check(DOOMED, replace(second, pages=first.pages))
    trees.check(DOOMED, second)


def test_a_list_that_grew_after_the_staging_is_refused(trees: Trees, draft: Draft) -> None:
    staged = draft.seal(trees)
    with pytest.raises(KeyGraphError, match="condemned"):
        trees.check({*DOOMED, (1, 2)}, staged)
    with pytest.raises(KeyGraphError, match="exactly the cohorts"):
        trees.check({*DOOMED, *((2, slot) for slot in GIVEN_OUT)}, staged)


def test_a_list_that_shrank_after_the_staging_is_refused(trees: Trees, draft: Draft) -> None:
    staged = draft.seal(trees)
    with pytest.raises(KeyGraphError, match="exactly the cohorts"):
        trees.check(DOOMED - {(3, 1)}, staged)
    wider = trees.stage_destruction(ACTIVE, {*DOOMED, (1, 2)}, trees.new_master(ACTIVE))
    with pytest.raises(KeyGraphError, match="survivor"):
        trees.check(DOOMED, wider)
