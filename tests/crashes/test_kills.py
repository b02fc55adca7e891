"""A real SIGKILL in a real process, before every durable effect of every operation that has some.

What was on the disk, in the bucket and at the custodian is all that is left. The effects are counted as they happen, so
a new one cannot be forgotten (see `victim`).
"""

from collections.abc import Callable

import pytest

from tests.crashes.scene import Judge, Scene, assert_masters_in_use_only, custodians, judge_told_filing
from tests.crashes.test_crashes import judge_destruction, judge_hold, judge_release, recover, twin
from tests.crashes.victim import Ended
from tests.people import TERMS, submitted
from tests.vault.databases import on_sqlite
from tests.vault.holding import release_order
from tests.vault.world import World, png
from vault.destruction.condemning import STEPS
from vault.destruction.drafting import draft_scrub
from vault.destruction.moving import masters_in_use, move_masters
from vault.destruction.reclaim import reclaim


def recovered(judge: Callable[[World, str], None]) -> Judge:
    def judged(world: World, where: str, _: Ended) -> None:
        recover(world)
        judge(world, where)

    return judged


def test_a_sweep_that_is_killed(scene: Scene) -> None:
    judge = recovered(judge_destruction(scene.town, scene.town.due, [scene.town.given_up]))
    assert set(scene.kill_everywhere("sweep", lambda _: (), judge)) == set(STEPS)


@on_sqlite
def test_a_scrub_that_is_killed(scene: Scene) -> None:
    town = scene.town
    order = submitted(town.world.vault, draft_scrub(town.world.vault, TERMS).order).id
    judge = recovered(judge_destruction(town, [*town.due, town.young], [town.given_up]))
    assert set(scene.kill_everywhere("scrub", lambda _: (order,), judge)) == set(STEPS)


@on_sqlite
def test_a_release_that_is_killed(scene: Scene) -> None:
    town, outcomes = scene.town, set[bool]()
    order = release_order(town.world.vault, town.hold).id
    judge = recovered(judge_release(town, outcomes))
    assert set(scene.kill_everywhere("release", lambda _: (town.hold, order), judge)) == set(STEPS)
    assert outcomes == {True, False}


@on_sqlite
def test_a_move_to_another_custodian_that_is_killed(scene: Scene) -> None:
    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        everybody = [r for r in world.records if r.documents]
        world.assert_readable(*everybody)
        assert_masters_in_use_only(world)
        if ended.killed and len(ended.effects) % 4:
            return
        # Which takes as long as all of the above.
        there = custodians(world)[1]
        move_masters(world.vault, there, "test")
        assert {one.custodian for one in masters_in_use(world.vault)} == {there}, where
        world.assert_readable(*everybody)

    steps = scene.kill_everywhere("move", lambda world: (custodians(world)[1],), judge)
    assert {steps.count(step) > 1 for step in STEPS} == {True}, "of both trees"


@on_sqlite
def test_a_hold_that_is_killed(scene: Scene) -> None:
    told: list[str] = []

    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        told[:] = ended.told
        judge_hold(scene.town, "20-cv-2", lambda: "placed" in told)(world, where)

    scene.kill_everywhere("hold", lambda _: (scene.town.due[0].id, "20-cv-2"), judge)
    assert "placed" in told


@on_sqlite
def test_a_filing_that_is_killed(scene: Scene) -> None:
    content = png(9000)
    # Far from the other dates, so that a cohort must be opened.
    scene.town.world.advance(days=100)
    scene.kill_everywhere("file", lambda _: ("A. New", content), judge_told_filing(scene, content))


@on_sqlite
@pytest.mark.parametrize("last", ["condemn", "destroy master"])
def test_a_recovery_that_is_killed(scene: Scene, last: str) -> None:
    """Of a sweep that died at the end of its step `last`: what there is to undo is most, or to carry out."""
    probe = scene.again()
    told = scene.run(probe, "sweep").told
    probe.vault.catalogue.close()
    following = told.index(f"step {STEPS[STEPS.index(last) + 1]}")
    fatal = sum(line.startswith("effect ") for line in told[:following])

    def died(world: World) -> None:
        assert scene.run(world, "sweep", fatal=fatal).last.endswith(f"(step {last})")

    doomed = judge_destruction(scene.town, scene.town.due, [scene.town.given_up])

    def judge(world: World, where: str, ended: Ended) -> None:
        recover(world)
        doomed(world, where)
        reclaim(world.vault)
        gone = {world.is_readable(twin(world, record)) for record in scene.town.due}
        assert gone == {last == "condemn"}, where

    scene.kill_everywhere("recover", lambda _: (), judge, died)


@on_sqlite
def test_a_rebuild_that_is_killed(scene: Scene) -> None:
    """Cut off, it is begun again: the home has the old catalogue, the new one, or for a moment none."""
    town = scene.town
    town.world.sweep()

    def judge(world: World, where: str, ended: Ended) -> None:
        if ended.killed:
            assert not scene.run(world, "rebuild").killed
        recover(world)
        world.assert_readable(twin(world, town.held), twin(world, town.young))
        world.assert_destroyed(*(twin(world, record) for record in town.due))

    scene.kill_everywhere("rebuild", lambda _: (), judge)
