"""The promise itself: over every blob ever written, no living master reaches a destroyed key."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from keystore import EVERY_SLOT, INDEX_SLOT, Rewrite, Tree, TreeChange, slots_of
from keystore.destruction import Standing, destroy_master
from tests.keystore.trees import GIVEN_OUT, VAULT, Trees, bits

ACTIVE, HELD = Tree.ACTIVE, Tree.HELD

CHOICE = st.integers(0, 99)
STEPS = st.one_of(
    st.tuples(st.just("open"), CHOICE, st.just(frozenset[int]())),
    st.tuples(st.just("hold"), CHOICE, st.just(frozenset[int]())),
    st.tuples(st.just("release"), CHOICE, st.just(frozenset[int]())),
    st.tuples(st.just("destroy some"), CHOICE, st.frozensets(CHOICE, min_size=1, max_size=6)),
    st.tuples(st.just("destroy cohort"), CHOICE, st.just(frozenset[int]())),
    st.tuples(st.just("scrub"), CHOICE, st.just(frozenset[int]())),
    st.tuples(st.just("lose a race"), CHOICE, st.just(frozenset[int]())),
    st.tuples(st.just("undo"), CHOICE, st.frozensets(CHOICE, min_size=1, max_size=6)),
)


def pick(places: set[tuple[int, int]], choice: int) -> tuple[int, int]:
    ordered = sorted(places)
    return ordered[choice % len(ordered)]


def take_step(trees: Trees, step: str, choice: int, choices: frozenset[int]) -> None:
    """One legal step; without effect where nothing can be chosen."""
    free = trees.living - trees.held
    if step == "open":
        trees.open_cohort(max((cohort for cohort, _ in trees.true_keys), default=0) + 1)
    elif step == "hold" and free:
        trees.hold(pick(free, choice))
    elif step == "release" and trees.held:
        trees.destroy(HELD, {pick(trees.held, choice)})
    elif step == "destroy some" and free:
        trees.destroy(ACTIVE, {pick(free, one) for one in choices})
    elif step == "destroy cohort" and free:
        cohort, _ = pick(free, choice)
        trees.destroy(ACTIVE, {place for place in free if place[0] == cohort})
    elif step == "scrub":
        trees.destroy(ACTIVE, free)
    elif step == "lose a race":
        # Staged and mirrored, and never taken.
        trees.stage(
            ACTIVE, TreeChange(rewritten={cohort: Rewrite(EVERY_SLOT) for cohort in trees.current_pages[ACTIVE]})
        )
    elif step == "undo" and free:
        master = trees.new_master(ACTIVE)
        trees.stage_destruction(ACTIVE, {pick(free, one) for one in choices}, master)
        trees.custodian.destroy(master)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(STEPS, min_size=3, max_size=12))
def test_nothing_destroyed_is_ever_reached_again(steps: list[tuple[str, int, frozenset[int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trees = Trees(Path(folder))
        trees.open_cohort(1)
        for step in steps:
            take_step(trees, *step)
        event(f"destroyed: {min(len(trees.gone), 10)}, held: {min(len(trees.held), 3)}")
        destroyed = {trees.true_keys[place] for place in trees.gone}
        living = {trees.true_keys[place] for place in trees.living}
        reached = trees.reachable(trees.custodian)
        assert not destroyed & reached, "promise two: never recoverable after"
        assert living <= reached, "promise one: never lost before its time"
        # Positive control: with the dead masters the same adversary wins.
        assert destroyed | living <= trees.reachable(trees.stolen)


def test_each_dead_master_alone_gives_its_own_records_back(tmp_path: Path) -> None:
    """Which secret is it that must die? Exactly the one that destroy_master destroys."""
    trees = Trees(tmp_path)
    trees.open_cohort(1)
    masters = []
    for slot in (1, 2, 3):
        masters.append(trees.current[ACTIVE].master)
        trees.destroy(ACTIVE, {(1, slot)})
    assert not {trees.true_keys[place] for place in trees.gone} & trees.reachable(trees.custodian)
    for index, master in enumerate(masters):
        copy = tmp_path / "keys" / f"{master}.master"
        copy.write_bytes((tmp_path / "stolen" / copy.name).read_bytes())
        reached = trees.reachable(trees.custodian)
        copy.unlink()
        assert {slot for slot in (1, 2, 3) if trees.true_keys[1, slot] in reached} == {1, 2, 3} - set(
            range(1, index + 1)
        )


def test_a_held_copy_outlives_the_active_tree_and_dies_with_its_release(tmp_path: Path) -> None:
    trees = Trees(tmp_path)
    trees.open_cohort(1)
    trees.hold((1, 1))
    trees.hold((1, 2))
    trees.destroy(ACTIVE, {(1, slot) for slot in GIVEN_OUT if slot > 2})
    held = {trees.true_keys[1, 1], trees.true_keys[1, 2]}
    assert held <= trees.reachable(trees.custodian)
    trees.destroy(HELD, {(1, 1), (1, 2)})
    assert held <= trees.reachable(trees.custodian), "a release destroys the copy, not the record"
    trees.destroy(ACTIVE, {(1, 1), (1, 2)})
    assert not held & trees.reachable(trees.custodian)


def test_a_release_without_a_new_master_would_be_no_release(tmp_path: Path) -> None:
    """Why `held` is rewritten under a fresh master: the mutant must be caught."""
    trees = Trees(tmp_path)
    trees.open_cohort(1)
    trees.hold((1, 1))
    trees.take(trees.stage(HELD, TreeChange(dropped=(1,))), dropped=(1,))
    trees.held.clear()
    trees.destroy(ACTIVE, {(1, 1)})
    assert trees.true_keys[1, 1] in trees.reachable(trees.custodian)


def test_a_second_staging_under_one_master_must_not_condemn_what_the_first_spared(tmp_path: Path) -> None:
    """The first staging is in the bucket, under a master that lives on: its survivors are reachable through it.

    `vault.destruction.carrying_out` stages again under the same master when the world changed. docs/spec/destruction.md
    therefore demands that the condemned only ever become fewer.
    """
    trees = Trees(tmp_path)
    trees.open_cohort(1)
    old, master = trees.current[ACTIVE], trees.new_master(ACTIVE)
    trees.stage_destruction(ACTIVE, {(1, 1)}, master)
    wider = {(1, 1), (1, 2)}
    second = trees.stage_destruction(ACTIVE, wider, master)
    trees.check(wider, second)
    trees.take(second)
    destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, second.root))
    reached = trees.reachable(trees.custodian)
    assert trees.true_keys[1, 1] not in reached
    assert trees.true_keys[1, 2] in reached


def test_what_a_new_page_holds_after_a_partial_destruction(tmp_path: Path) -> None:
    trees = Trees(tmp_path)
    trees.open_cohort(1)
    trees.destroy(ACTIVE, {(1, 2), (1, 4)})
    assert trees.current_pages[ACTIVE][1].live == bits([INDEX_SLOT, 1, 3, 5])
    assert list(slots_of(trees.current_pages[ACTIVE][1].live)) == [0, 1, 3, 5]
