"""The death of a master: evidence, custodians that lie, repetition."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from keystore import (
    CustodianError,
    CustodianUnavailableError,
    Key,
    KeyGoneError,
    MasterGoneError,
    MasterState,
    OpenTree,
    SealBrokenError,
    SealedRoot,
    Tree,
    WrongOrderError,
)
from keystore.custodians import FileCustodian
from keystore.destruction import STABLE_AFTER, Evidence, Standing, destroy_master, discard_unused_master
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


@pytest.fixture
def new(trees: Trees, old: SealedRoot) -> SealedRoot:
    """The root that has taken its place."""
    return trees.current[ACTIVE]


class Liar(FileCustodian):
    """Says it has destroyed, and has kept a copy."""

    says: MasterState | None = None
    gone_for = 0
    destroys = True
    victim = ""

    def destroy(self, name: str) -> None:
        self.victim = name
        shutil.copy(self._folder / f"{name}.master", self._folder.parent / "copy")
        if self.destroys:
            super().destroy(name)

    def describe(self, name: str) -> MasterState:
        return self.says or super().describe(name)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        if self.gone_for and name == self.victim:
            self.gone_for -= 1
            if not self.gone_for:
                shutil.copy(self._folder.parent / "copy", self._folder / f"{name}.master")
        return super().unwrap(name, wrapped, bound_to)


@pytest.fixture
def liar(trees: Trees) -> Liar:
    return Liar(trees.folder / "keys", away_from=trees.folder / "home")


def test_the_old_tree_is_dead_and_the_new_one_lives(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    OpenTree.open(VAULT, old, trees.custodian).wipe()
    evidence = destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))
    assert evidence == Evidence(old.master, trees.custodian.uri, MasterState.ABSENT, STABLE_AFTER)
    with pytest.raises(MasterGoneError):
        OpenTree.open(VAULT, old, trees.custodian)
    assert old.master not in trees.custodian.names()
    for place in trees.living:
        assert raw(trees.key(place)) == trees.true_keys[place]
    # Positive control: with the dead master's bytes the old tree opens.
    OpenTree.open(VAULT, old, trees.stolen).wipe()


def test_it_may_be_repeated(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    first = destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))
    assert destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new)) == first


def test_a_custodian_that_still_has_it_is_noticed(old: SealedRoot, new: SealedRoot, liar: Liar) -> None:
    liar.destroys = False
    with pytest.raises(CustodianError, match="still has"):
        destroy_master(VAULT, Standing(liar, old), Standing(liar, new))


def test_a_custodian_that_says_absent_and_still_opens_is_noticed(old: SealedRoot, new: SealedRoot, liar: Liar) -> None:
    liar.destroys = False
    liar.says = MasterState.ABSENT
    with pytest.raises(CustodianError, match="still opens"):
        destroy_master(VAULT, Standing(liar, old), Standing(liar, new))
    liar.destroys, liar.says = True, None
    assert destroy_master(VAULT, Standing(liar, old), Standing(liar, new)).state_read_back is MasterState.ABSENT


@pytest.mark.parametrize("uses", range(1, STABLE_AFTER + 1))
def test_a_master_that_comes_back_is_noticed(old: SealedRoot, new: SealedRoot, liar: Liar, uses: int) -> None:
    liar.gone_for = uses
    with pytest.raises(CustodianError, match="still opens"):
        destroy_master(VAULT, Standing(liar, old), Standing(liar, new))


def test_a_master_that_comes_back_after_the_last_look_is_not_noticed(
    old: SealedRoot, new: SealedRoot, liar: Liar
) -> None:
    """What no observation can prove: where copies may exist is said in the assurance."""
    liar.gone_for = STABLE_AFTER + 1
    evidence = destroy_master(VAULT, Standing(liar, old), Standing(liar, new))
    assert evidence.refused_uses == STABLE_AFTER


def test_a_root_key_that_a_liar_gives_is_wiped(
    old: SealedRoot, new: SealedRoot, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar.destroys, liar.says = False, MasterState.ABSENT
    given: list[Key] = []
    real = FileCustodian.unwrap

    def noted(self: FileCustodian, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        given.append(real(self, name, wrapped, bound_to))
        return given[-1]

    monkeypatch.setattr(FileCustodian, "unwrap", noted)
    with pytest.raises(CustodianError):
        destroy_master(VAULT, Standing(liar, old), Standing(liar, new))
    assert len(given) == 2, "the new root's, and the old one's"
    for key in given:
        with pytest.raises(KeyGoneError):
            key.reveal()


def test_a_custodian_that_does_not_answer_gives_no_evidence(
    trees: Trees, old: SealedRoot, new: SealedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("destroy", "describe", "unwrap"):

        def silent(*_: object) -> None:
            message = "no answer"
            raise CustodianUnavailableError(message)

        with monkeypatch.context() as patch:
            patch.setattr(trees.custodian, method, silent)
            with pytest.raises(CustodianUnavailableError):
                destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))
    assert (
        destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new)).refused_uses
        == STABLE_AFTER
    )


class Remade(FileCustodian):
    """Destroys, and has another master under the old name again (a second operator): so many looks later."""

    after = 0

    def describe(self, name: str) -> MasterState:
        state = super().describe(name)
        self.after -= 1
        if not self.after:
            self.create(name)
        return state


def test_a_master_of_the_old_name_with_other_bytes_is_no_proof(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    """A wrap that does not open says nothing of the master's death: it is the name that must be gone."""
    remade = Remade(trees.folder / "keys", away_from=trees.folder / "home")
    # The custodian itself looks once, and then `destroy_master`.
    for remade.after, said in ((1, "still has"), (2, "again")):
        with pytest.raises(CustodianError, match=said):
            destroy_master(VAULT, Standing(remade, old), Standing(remade, new))
        assert trees.custodian.describe(old.master) is MasterState.LIVE
    assert (
        destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new)).state_read_back
        is MasterState.ABSENT
    )


def test_an_empty_key_folder_proves_nothing(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    """A folder that was not mounted, or a wrong one, knows no master at all."""
    empty = FileCustodian(trees.folder / "empty", away_from=trees.folder / "home")
    with pytest.raises(MasterGoneError):
        destroy_master(VAULT, Standing(empty, old), Standing(empty, new))
    for master in (trees.folder / "keys").iterdir():
        master.unlink()
    with pytest.raises(MasterGoneError):
        destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))


def test_while_the_next_root_does_not_open_the_old_master_is_not_touched(
    trees: Trees, old: SealedRoot, new: SealedRoot
) -> None:
    path = trees.folder / "keys" / f"{new.master}.master"
    whole = path.read_bytes()
    for left, error in ((None, MasterGoneError), (whole[:31], CustodianError), (bytes(32), SealBrokenError)):
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        with pytest.raises(error):
            destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))
        OpenTree.open(VAULT, old, trees.custodian).wipe()
        path.write_bytes(whole)
    assert destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new)).master == old.master


def test_the_next_root_must_stand_under_another_master(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    for root in (old, new):
        with pytest.raises(WrongOrderError):
            destroy_master(VAULT, Standing(trees.custodian, root), Standing(trees.custodian, root))
        with pytest.raises(WrongOrderError):
            destroy_master(
                VAULT, Standing(trees.custodian, replace(old, master=new.master)), Standing(trees.custodian, new)
            )
        OpenTree.open(VAULT, root, trees.custodian).wipe()


def test_unused_masters_are_discarded(trees: Trees) -> None:
    name = trees.new_master(ACTIVE)
    before = trees.custodian.names()
    for unused in (name, name, "never-made"):
        discard_unused_master(
            trees.custodian, VAULT, unused, [Standing(trees.custodian, root) for root in trees.current.values()]
        )
    assert trees.custodian.names() == before - {name}
    assert raw(trees.key((1, 1))) == trees.true_keys[1, 1]


def test_a_master_in_use_is_not_discarded(trees: Trees) -> None:
    for root in trees.current.values():
        with pytest.raises(WrongOrderError):
            discard_unused_master(
                trees.custodian,
                VAULT,
                root.master,
                [Standing(trees.custodian, root) for root in trees.current.values()],
            )
        OpenTree.open(VAULT, root, trees.custodian).wipe()


def test_whoever_knows_only_dead_roots_discards_nothing(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    """After a restored backup the master that looks unused is the one in use."""
    destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))
    with pytest.raises(MasterGoneError):
        discard_unused_master(
            trees.custodian,
            VAULT,
            new.master,
            [Standing(trees.custodian, root) for root in (old, trees.current[Tree.HELD])],
        )
    OpenTree.open(VAULT, new, trees.custodian).wipe()


def test_the_evidence_shows_no_key(trees: Trees, old: SealedRoot, new: SealedRoot) -> None:
    shown = repr(destroy_master(VAULT, Standing(trees.custodian, old), Standing(trees.custodian, new))).encode()
    for master in Path(trees.folder / "stolen").iterdir():
        assert master.read_bytes().hex().encode() not in shown
