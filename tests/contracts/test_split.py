"""What only the split custodian promises: all members to read, any one to destroy, and it says which."""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keystore import (
    Assurance,
    Custodian,
    CustodianError,
    CustodianUnavailableError,
    Key,
    MasterExistsError,
    MasterGoneError,
    MasterState,
    SealBrokenError,
    Tree,
    WrongOrderError,
    open_custodian,
)
from keystore.custodians import FileCustodian
from keystore.custodians.split import SplitCustodian
from keystore.destruction import Standing, destroy_master
from keystore.tree import SealedRoot, root_context

BOUND_TO = b"vault, tree, epoch, version"
VAULT = bytes(16)


class Faulty:
    """A real file custodian that can be told to fail, to have an end, or to be worth something else."""

    def __init__(self, inner: FileCustodian) -> None:
        self.inner = inner
        self.failure: CustodianError | None = None
        self.kind = "software"
        self.cancellable = False
        self.end: datetime | None = None

    def _answer(self) -> FileCustodian:
        if self.failure is not None:
            raise self.failure
        return self.inner

    @property
    def uri(self) -> str:
        return self.inner.uri

    @property
    def assurance(self) -> Assurance:
        return Assurance(self.kind, f"at once, {self.kind}", self.cancellable, f"copies of {self.kind}.")

    @property
    def ends_masters(self) -> bool:
        return self._answer().ends_masters

    def create(self, name: str, ends_at: datetime | None = None) -> None:
        self._answer().create(name, ends_at)

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        return self._answer().wrap(name, key, bound_to)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        return self._answer().unwrap(name, wrapped, bound_to)

    def describe(self, name: str) -> MasterState:
        return self._answer().describe(name)

    def expires_at(self, name: str) -> datetime | None:
        self._answer().expires_at(name)
        return self.end

    def destroy(self, name: str) -> None:
        self._answer().destroy(name)

    def names(self) -> frozenset[str]:
        return self._answer().names()


@pytest.fixture
def members(tmp_path: Path) -> list[Faulty]:
    return [Faulty(FileCustodian(tmp_path / f"keys-{at}", away_from=tmp_path / "home")) for at in range(3)]


@pytest.fixture
def split(members: list[Faulty]) -> SplitCustodian:
    return SplitCustodian("split:one,two,three", members)


@pytest.fixture
def root_key() -> Iterator[Key]:
    with Key.generate() as key:
        yield key


def opens(custodian: Custodian, wrapped: bytes, key: Key) -> bool:
    with custodian.unwrap("a", wrapped, BOUND_TO) as seen:
        return seen.same_as(key)


def two_roots(custodian: Custodian, key: Key) -> list[SealedRoot]:
    """An old root under the master `a` and its successor under `b`, as the destroyer is given them."""
    roots = []
    for at, name in ((1, "a"), (2, "b")):
        wrapped = custodian.wrap(name, key, root_context(VAULT, Tree.ACTIVE, at, at))
        roots.append(SealedRoot(Tree.ACTIVE, at, at, name, wrapped, b""))
    return roots


# --- any one alone destroys ---------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["keys-1", "keys-2"])
def test_a_key_destroyed_with_the_members_own_tool_is_noticed(tmp_path: Path, root_key: Key, victim: str) -> None:
    """For files that tool is `rm`. The other member lives, and is of no use."""
    uri = f"split:file:{tmp_path}/keys-1,file:{tmp_path}/keys-2"
    custodian = open_custodian(uri, away_from=tmp_path / "home", make=True)
    custodian.create("a")
    custodian.create("b")
    wrapped, other = custodian.wrap("a", root_key, BOUND_TO), custodian.wrap("b", root_key, BOUND_TO)
    assert opens(custodian, wrapped, root_key)

    (tmp_path / victim / "a.master").unlink()

    for _ in range(3):
        with pytest.raises(MasterGoneError) as seen:
            custodian.unwrap("a", wrapped, BOUND_TO)
        assert f"is gone at file:{tmp_path}/{victim}," in str(seen.value)
        assert "still at" in str(seen.value)
        assert "if no destruction was ordered" in str(seen.value)
    with pytest.raises(MasterGoneError, match=victim):
        custodian.wrap("a", root_key, BOUND_TO)
    with pytest.raises(MasterGoneError, match=victim):
        custodian.expires_at("a")
    assert custodian.describe("a") is MasterState.ABSENT
    assert custodian.names() == {"a", "b"}, "what is left of it at the other member can be found"
    custodian.unwrap("b", other, BOUND_TO).wipe()
    custodian.destroy("a")
    assert custodian.names() == {"b"}


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_destruction_of_one_share_satisfies_the_module_that_destroys(
    split: SplitCustodian, members: list[Faulty], root_key: Key, victim: int
) -> None:
    """Its evidence is absence and refused uses; the rest is cleaned up on the way."""
    split.create("a")
    split.create("b")
    roots = two_roots(split, root_key)
    members[victim].inner.destroy("a")
    evidence = destroy_master(VAULT, Standing(split, roots[0]), Standing(split, roots[1]))
    assert evidence.state_read_back is MasterState.ABSENT
    assert evidence.refused_uses == 3
    assert not any("a" in member.inner.names() for member in members)


def test_an_empty_member_is_no_evidence(
    split: SplitCustodian, members: list[Faulty], root_key: Key, tmp_path: Path
) -> None:
    """A member's folder that is empty, as under an unmounted disk, has no master of the next root either."""
    split.create("a")
    split.create("b")
    roots = two_roots(split, root_key)
    (tmp_path / "keys-1").rename(tmp_path / "away")
    (tmp_path / "keys-1").mkdir(mode=0o700)
    with pytest.raises(MasterGoneError, match="keys-1"):
        destroy_master(VAULT, Standing(split, roots[0]), Standing(split, roots[1]))
    assert members[0].inner.describe("a") is MasterState.LIVE
    shutil.rmtree(tmp_path / "keys-1")
    (tmp_path / "away").rename(tmp_path / "keys-1")
    destroy_master(VAULT, Standing(split, roots[0]), Standing(split, roots[1]))


def test_the_shares_that_are_left_say_nothing(split: SplitCustodian, members: list[Faulty], root_key: Key) -> None:
    split.create("a")
    wrapped = split.wrap("a", root_key, BOUND_TO)
    parts = split._parts(wrapped)
    assert parts is not None
    for absent in range(3):
        seen = bytearray(32)
        for place, (member, blob) in enumerate(zip(members, parts[1], strict=True)):
            if place != absent:
                with member.unwrap("a", blob, split._bound(parts[0], place, BOUND_TO)) as share:
                    assert not share.same_as(root_key)
                    seen[:] = bytes(x ^ y for x, y in zip(seen, share.reveal(), strict=True))
        assert bytes(seen) != bytes(root_key.reveal())


# --- members that do not answer -----------------------------------------------------------------------


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_member_that_is_down_at_destruction(
    split: SplitCustodian, members: list[Faulty], root_key: Key, silent: int
) -> None:
    split.create("a")
    wrapped = split.wrap("a", root_key, BOUND_TO)
    members[silent].failure = CustodianUnavailableError("no route")
    with pytest.raises(CustodianUnavailableError) as refusal:
        split.destroy("a")
    said = str(refusal.value)
    assert f"{members[silent].uri} has not confirmed: no route" in said
    assert "cannot be read any more all the same" in said
    for at, member in enumerate(members):
        if at != silent:
            assert member.uri in said
            assert member.inner.names() == frozenset()
    with pytest.raises(MasterGoneError, match=re.escape(f"No answer from {members[silent].uri}")):
        split.unwrap("a", wrapped, BOUND_TO)
    members[silent].failure = None
    assert split.names() == {"a"}, "what was left over is found"
    split.destroy("a")
    assert split.names() == frozenset()


def test_nobody_confirms(split: SplitCustodian, members: list[Faulty], root_key: Key) -> None:
    split.create("a")
    wrapped = split.wrap("a", root_key, BOUND_TO)
    for member in members:
        member.failure = CustodianUnavailableError("no route")
    with pytest.raises(CustodianUnavailableError, match="Nothing has confirmed"):
        split.destroy("a")
    for member in members:
        member.failure = None
    assert opens(split, wrapped, root_key)


def test_a_member_that_refuses_for_good_is_not_called_unavailable(split: SplitCustodian, members: list[Faulty]) -> None:
    split.create("a")
    members[0].failure = CustodianUnavailableError("no route")
    members[1].failure = CustodianError("the file has another name")
    with pytest.raises(CustodianError, match="another name") as refusal:
        split.destroy("a")
    assert not isinstance(refusal.value, CustodianUnavailableError)
    assert members[2].inner.names() == frozenset()


def test_a_member_that_is_down_is_no_absence(split: SplitCustodian, members: list[Faulty], root_key: Key) -> None:
    split.create("a")
    wrapped = split.wrap("a", root_key, BOUND_TO)
    members[1].failure = CustodianUnavailableError("no route")
    calls: tuple[Callable[[], object], ...] = (
        lambda: split.describe("a"),
        lambda: split.unwrap("a", wrapped, BOUND_TO),
        lambda: split.wrap("a", root_key, BOUND_TO),
        lambda: split.create("b"),
    )
    for call in calls:
        with pytest.raises(CustodianUnavailableError, match=re.escape(members[1].uri)):
            call()
    members[1].failure = None
    assert opens(split, wrapped, root_key)


# --- making -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("down", [0, 1, 2])
def test_a_creation_cut_off_between_members(
    split: SplitCustodian, members: list[Faulty], root_key: Key, down: int
) -> None:
    members[down].failure = CustodianUnavailableError("no route")
    with pytest.raises(CustodianUnavailableError, match="is no master yet"):
        split.create("a")
    members[down].failure = None
    assert split.describe("a") is MasterState.ABSENT
    with pytest.raises(MasterGoneError):
        split.wrap("a", root_key, BOUND_TO)
    assert split.names() == ({"a"} if down else frozenset())
    split.create("a")
    assert opens(split, split.wrap("a", root_key, BOUND_TO), root_key)
    with pytest.raises(MasterExistsError):
        split.create("a")


def test_a_creation_cut_off_is_removed_by_destroy(split: SplitCustodian, members: list[Faulty]) -> None:
    members[2].failure = CustodianUnavailableError("no route")
    with pytest.raises(CustodianUnavailableError):
        split.create("a")
    members[2].failure = None
    split.destroy("a")
    assert split.names() == frozenset()


# --- shares that are moved about ----------------------------------------------------------------------


def test_shares_cannot_be_swapped_mixed_or_moved(split: SplitCustodian, members: list[Faulty], root_key: Key) -> None:
    split.create("a")
    first, second = split.wrap("a", root_key, BOUND_TO), split.wrap("a", root_key, BOUND_TO)
    assert opens(split, first, root_key)
    one, two = split._parts(first), split._parts(second)
    assert one is not None
    assert two is not None

    def joined(wrap_id: bytes, blobs: list[bytes]) -> bytes:
        return wrap_id + b"".join(len(blob).to_bytes(2, "big") + blob for blob in blobs)

    assert joined(*one) == first
    attacks = [
        joined(one[0], [one[1][1], one[1][0], one[1][2]]),
        joined(one[0], [one[1][0], one[1][1], two[1][2]]),
        joined(two[0], one[1]),
        joined(one[0], one[1][:2]),
        joined(one[0], [*one[1], one[1][0]]),
        joined(one[0], [one[1][0]] * 3),
    ]
    for attack in attacks:
        with pytest.raises(SealBrokenError):
            split.unwrap("a", attack, BOUND_TO)
    fewer = SplitCustodian("split:one,two", members[:2])
    turned = SplitCustodian("split:three,two,one", members[::-1])
    for other in (fewer, turned):
        with pytest.raises(SealBrokenError):
            other.unwrap("a", first, BOUND_TO)
    assert opens(split, first, root_key)


def test_the_root_key_stands_under_no_member_alone(
    split: SplitCustodian, members: list[Faulty], root_key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[Key] = []
    seen: list[bytes] = []
    real = Faulty.wrap

    def noting(self: Faulty, name: str, key: Key, bound_to: bytes) -> bytes:
        shares.append(key)
        seen.append(bytes(key.reveal()))
        return real(self, name, key, bound_to)

    monkeypatch.setattr(Faulty, "wrap", noting)
    split.create("a")
    split.wrap("a", root_key, BOUND_TO)
    assert len(set(seen)) == 3
    assert bytes(root_key.reveal()) not in seen
    assert bytes(x ^ y ^ z for x, y, z in zip(*seen, strict=True)) == bytes(root_key.reveal())
    for share in shares:
        with pytest.raises(WrongOrderError):
            share.reveal()


# --- what it says of itself ---------------------------------------------------------------------------


def test_the_assurance_is_the_best_of_its_members(split: SplitCustodian, members: list[Faulty]) -> None:
    assert split.assurance.kind == "software"
    members[0].kind, members[1].kind, members[1].cancellable = "service", "hardware", True
    best = split.assurance
    assert best.kind == "hardware"
    assert best.can_be_cancelled is True
    for member in members:
        assert f"{member.uri}: at once, {member.kind}" in best.takes_effect
        assert f"{member.uri} ({member.kind}): copies of {member.kind}." in best.copies


def test_the_earliest_end_counts(split: SplitCustodian, members: list[Faulty]) -> None:
    split.create("a")
    assert split.expires_at("a") is None
    members[0].end = datetime(2031, 1, 1, tzinfo=UTC)
    members[2].end = datetime(2030, 1, 1, tzinfo=UTC)
    assert split.expires_at("a") == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "uri",
    [
        *("split:", "split:file:/k/1", "split:file:/k/1,", "split:,file:/k/1", "split:file:/k/1,file:/k/1"),
        *("split:file:/k/1,split:file:/k/2,file:/k/3", "split:file:/k/1,nothing:/k/2"),
        "split:" + ",".join(f"file:/k/{at}" for at in range(9)),
    ],
)
def test_uris_that_name_no_split(tmp_path: Path, uri: str) -> None:
    uri = uri.replace("/k/", f"{tmp_path}/")
    with pytest.raises(CustodianError):
        open_custodian(uri, away_from=tmp_path / "home")


def test_one_place_under_two_spellings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CustodianError, match="differ"):
        open_custodian(f"split:file:{tmp_path}/keys,file:{tmp_path}/x/../keys", away_from=tmp_path / "home", make=True)
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    with pytest.raises(CustodianError, match="differ"):
        open_custodian(f"split:file:{tmp_path}/keys,file:{tmp_path}/link", away_from=tmp_path / "home")


def test_a_comma_in_a_members_uri(tmp_path: Path) -> None:
    uri = f"split:file:{tmp_path}/a%2Cb,file:{tmp_path}/c"
    custodian = open_custodian(uri, away_from=tmp_path / "home", make=True)
    custodian.create("a")
    assert (tmp_path / "a,b" / "a.master").exists()
    assert custodian.uri == uri


def test_three_members_of_the_contract(split: SplitCustodian, root_key: Key) -> None:
    split.create("a")
    wrapped = split.wrap("a", root_key, BOUND_TO)
    for at in range(len(wrapped)):
        with pytest.raises(SealBrokenError):
            split.unwrap("a", wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :], BOUND_TO)
    for blob in (b"", wrapped[:-1], wrapped + b"\0", secrets.token_bytes(len(wrapped))):
        with pytest.raises(SealBrokenError):
            split.unwrap("a", blob, BOUND_TO)
    assert opens(split, wrapped, root_key)
