"""The death of a master: evidence, custodians that lie, repetition."""

import shutil
from pathlib import Path

import pytest

from keystore import (
    CustodianError,
    CustodianUnavailableError,
    Key,
    MasterGoneError,
    MasterState,
    OpenTree,
    SealBrokenError,
    SealedRoot,
    Tree,
)
from keystore.custodians import FileCustodian
from keystore.destruction import STABLE_AFTER, Evidence, destroy_master, discard_unused_master
from tests.keystore.trees import VAULT, Trees, raw

ACTIVE = Tree.ACTIVE


@pytest.fixture
def old(trees: Trees) -> SealedRoot:
    """The root whose master is to die; the next epoch is in place."""
    old = trees.current[ACTIVE]
    staged = trees.stage_destruction(ACTIVE, {(1, 1)}, trees.new_master(ACTIVE))
    trees.check({(1, 1)}, staged)
    trees.take(staged)
    trees.gone.add((1, 1))
    return old


class Liar(FileCustodian):
    """Says it has destroyed, and has kept a copy."""

    says: MasterState | None = None
    gone_for = 0
    destroys = True

    def destroy(self, name: str) -> None:
        shutil.copy(self._folder / f"{name}.master", self._folder.parent / "copy")
        if self.destroys:
            super().destroy(name)

    def describe(self, name: str) -> MasterState:
        return self.says or super().describe(name)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        if self.gone_for:
            self.gone_for -= 1
            if not self.gone_for:
                shutil.copy(self._folder.parent / "copy", self._folder / f"{name}.master")
        return super().unwrap(name, wrapped, bound_to)


@pytest.fixture
def liar(trees: Trees) -> Liar:
    return Liar(trees.folder / "keys", away_from=trees.folder / "home")


def test_the_old_tree_is_dead_and_the_new_one_lives(trees: Trees, old: SealedRoot) -> None:
    OpenTree.open(VAULT, old, trees.custodian).wipe()
    evidence = destroy_master(trees.custodian, VAULT, old)
    assert evidence == Evidence(old.master, trees.custodian.uri, MasterState.ABSENT, STABLE_AFTER)
    with pytest.raises(MasterGoneError):
        OpenTree.open(VAULT, old, trees.custodian)
    assert old.master not in trees.custodian.names()
    for place in trees.living:
        assert raw(trees.key(place)) == trees.true_keys[place]
    # Positive control: with the dead master's bytes the old tree opens.
    OpenTree.open(VAULT, old, trees.stolen).wipe()


def test_it_may_be_repeated(trees: Trees, old: SealedRoot) -> None:
    first = destroy_master(trees.custodian, VAULT, old)
    assert destroy_master(trees.custodian, VAULT, old) == first


def test_a_custodian_that_still_has_it_is_noticed(old: SealedRoot, liar: Liar) -> None:
    liar.destroys = False
    with pytest.raises(CustodianError, match="still has"):
        destroy_master(liar, VAULT, old)


def test_a_custodian_that_says_absent_and_still_opens_is_noticed(old: SealedRoot, liar: Liar) -> None:
    liar.destroys = False
    liar.says = MasterState.ABSENT
    with pytest.raises(CustodianError, match="still opens"):
        destroy_master(liar, VAULT, old)
    liar.destroys, liar.says = True, None
    assert destroy_master(liar, VAULT, old).state_read_back is MasterState.ABSENT


@pytest.mark.parametrize("uses", range(1, STABLE_AFTER + 1))
def test_a_master_that_comes_back_is_noticed(old: SealedRoot, liar: Liar, uses: int) -> None:
    liar.gone_for = uses
    with pytest.raises(CustodianError, match="still opens"):
        destroy_master(liar, VAULT, old)


def test_a_master_that_comes_back_after_the_last_look_is_not_noticed(old: SealedRoot, liar: Liar) -> None:
    """What no observation can prove: where copies may exist is said in the assurance."""
    liar.gone_for = STABLE_AFTER + 1
    evidence = destroy_master(liar, VAULT, old)
    assert evidence.refused_uses == STABLE_AFTER


def test_a_root_key_that_a_liar_gives_is_wiped(old: SealedRoot, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    liar.destroys, liar.says = False, MasterState.ABSENT
    given: list[Key] = []
    real = FileCustodian.unwrap

    def noted(self: FileCustodian, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        given.append(real(self, name, wrapped, bound_to))
        return given[-1]

    monkeypatch.setattr(FileCustodian, "unwrap", noted)
    with pytest.raises(CustodianError):
        destroy_master(liar, VAULT, old)
    assert len(given) == 1
    with pytest.raises(Exception, match="wiped"):
        given[0].reveal()


def test_a_custodian_that_does_not_answer_gives_no_evidence(
    trees: Trees, old: SealedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("destroy", "describe", "unwrap"):

        def silent(*_: object) -> None:
            message = "no answer"
            raise CustodianUnavailableError(message)

        with monkeypatch.context() as patch:
            patch.setattr(trees.custodian, method, silent)
            with pytest.raises(CustodianUnavailableError):
                destroy_master(trees.custodian, VAULT, old)
    assert destroy_master(trees.custodian, VAULT, old).refused_uses == STABLE_AFTER


def test_a_master_that_only_refuses_this_root_is_not_gone(trees: Trees, old: SealedRoot, liar: Liar) -> None:
    """A wrap that does not open says nothing of the master's death."""
    liar.destroys, liar.says = False, MasterState.ABSENT
    (trees.folder / "keys" / f"{old.master}.master").write_bytes(bytes(32))
    with pytest.raises((CustodianError, SealBrokenError)):
        destroy_master(liar, VAULT, old)


def test_unused_masters_are_discarded(trees: Trees) -> None:
    name = trees.new_master(ACTIVE)
    before = trees.custodian.names()
    discard_unused_master(trees.custodian, name)
    discard_unused_master(trees.custodian, name)
    discard_unused_master(trees.custodian, "never-made")
    assert trees.custodian.names() == before - {name}
    assert raw(trees.key((1, 1))) == trees.true_keys[1, 1]


def test_the_evidence_shows_no_key(trees: Trees, old: SealedRoot) -> None:
    shown = repr(destroy_master(trees.custodian, VAULT, old)).encode()
    for master in Path(trees.folder / "stolen").iterdir():
        assert master.read_bytes().hex().encode() not in shown
