"""The split custodian: a master is one master at each of two or more members, and a root key is shared among them.

The root key is the XOR of as many shares as there are members. All but the last are random; each is wrapped under
one member's master. All members are needed to read. Any one of them that destroys its master ends the whole for ever,
also when that was done with the member's own tool: the other shares alone say nothing about the root key.

What follows from that, and was decided:

* A master is LIVE when every member has it, and ABSENT as soon as one member says it has not. A member that does not
  answer makes it neither, unless another says ABSENT.
* `create` makes the members' masters in order, and whoever makes the last one has made the master. A creation that was
  cut off is no master; it is completed by a repeat or removed by `destroy`.
* `destroy` asks every member, whatever the others answer, and succeeds only when all have confirmed. Whoever seizes
  one member can delay the record of a destruction with that, and not the destruction; the error says which.
* `names` lists what is left at any member, so that leftovers can be found.
* A share is bound to its place among the members, their number, and a random id of this wrap: shares of two wraps
  cannot be mixed, which XOR alone would not notice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Final

from keystore.errors import (
    CustodianError,
    CustodianUnavailableError,
    MasterExistsError,
    MasterGoneError,
    SealBrokenError,
)
from keystore.sealing import context
from keystore.secret import KEY_BYTES, Key

from .contract import Assurance, Custodian, MasterState

__all__ = ["SplitCustodian"]

MEMBERS_MIN: Final = 2
MEMBERS_MAX: Final = 8
_ID_BYTES: Final = 16
_LENGTH_BYTES: Final = 2
_SCHEME: Final = "split:"
_RANKS: Final = ("software", "service", "hardware")
"""From the weakest assurance to the best: an HSM in one's own hands is taken for more than a provider's word."""


class SplitCustodian:
    """Shares every root key among members. See `Custodian` for the contract of each method."""

    def __init__(self, uri: str, members: Sequence[Custodian]) -> None:
        """Use `members`, in the order in which `uri` names them.

        Raises:
            CustodianError: fewer than two or more than eight members, or one of them twice.
        """
        if not MEMBERS_MIN <= len(members) <= MEMBERS_MAX:
            message = f"A split custodian has {MEMBERS_MIN} to {MEMBERS_MAX} members."
            raise CustodianError(message)
        if len({member.uri for member in members}) != len(members):
            message = "A split custodian needs members that differ: whoever had one would have both shares."
            raise CustodianError(message)
        self._uri = uri
        self._members = tuple(members)

    @classmethod
    def from_uri(cls, uri: str, open_member: Callable[[str], Custodian]) -> SplitCustodian:
        """Open `split:URI,URI`. A comma inside a member's URI is written `%2C`, which the member itself reads.

        Raises:
            CustodianError: not such a URI, a split inside the split, or a member cannot be opened.
        """
        named = uri.removeprefix(_SCHEME).split(",")
        if not uri.startswith(_SCHEME) or not all(named):
            message = "A split custodian is given as split:URI,URI with a comma between its members."
            raise CustodianError(message)
        if any(member.startswith(_SCHEME) for member in named):
            message = "A split custodian has no split custodian among its members."
            raise CustodianError(message)
        if not MEMBERS_MIN <= len(named) <= MEMBERS_MAX or len(set(named)) != len(named):
            message = f"A split custodian has {MEMBERS_MIN} to {MEMBERS_MAX} members, each named once."
            raise CustodianError(message)
        return cls(uri, [open_member(member) for member in named])

    @property
    def uri(self) -> str:
        """The URI as it was given."""
        return self._uri

    @property
    def assurance(self) -> Assurance:
        """The best of its members, in words that name each."""
        own = [member.assurance for member in self._members]
        best = max(own, key=lambda assurance: _RANKS.index(assurance.kind))
        return Assurance(
            kind=best.kind,
            takes_effect="; ".join(
                f"{member.uri}: {assurance.takes_effect}" for member, assurance in zip(self._members, own, strict=True)
            ),
            can_be_cancelled=best.can_be_cancelled,
            copies="To undo the destruction, a copy from every member is needed. "
            + " ".join(
                f"{member.uri} ({its.kind}): {its.copies}" for member, its in zip(self._members, own, strict=True)
            ),
        )

    @property
    def ends_masters(self) -> bool:
        """See `Custodian.ends_masters`: one member is enough."""
        return any(member.ends_masters for member in self._members)

    def create(self, name: str, ends_at: datetime | None = None) -> None:
        """See `Custodian.create`. Completes a creation that was cut off between two members.

        A member that ends its master by itself ends the whole.
        """
        taken = False
        for member in self._members:
            try:
                member.create(name, ends_at)
                taken = False
            except MasterExistsError:
                taken = True
            except CustodianError as failed:
                message = (
                    f"{member.uri}: {failed} So {name} is no master yet: it must be at every member. "
                    "Repeat, or destroy it."
                )
                raise _again(failed, message) from failed
        if taken:
            message = f"A master named {name} exists already."
            raise MasterExistsError(message)

    def wrap(self, name: str, key: Key, bound_to: bytes) -> bytes:
        """See `Custodian.wrap`. A random id of 16 bytes, then each member's wrap after its length in 2 bytes."""
        wrap_id = os.urandom(_ID_BYTES)
        parts = [wrap_id]
        with ExitStack() as wiped:
            shares = [wiped.enter_context(Key.generate()) for _ in self._members[1:]]
            shares.append(wiped.enter_context(Key.copy_of(key.reveal())))
            for share in shares[:-1]:
                _xor_into(shares[-1], share)
            for place, (member, share) in enumerate(zip(self._members, shares, strict=True)):
                try:
                    wrapped = member.wrap(name, share, self._bound(wrap_id, place, bound_to))
                except MasterGoneError as gone:
                    raise self._gone(name) from gone
                except CustodianError as failed:
                    raise _again(failed, f"{member.uri}: {failed}") from failed
                parts += [len(wrapped).to_bytes(_LENGTH_BYTES, "big"), wrapped]
        return b"".join(parts)

    def unwrap(self, name: str, wrapped: bytes, bound_to: bytes) -> Key:
        """See `Custodian.unwrap`. One member that has no such master settles it, whatever the others answer."""
        parts = self._parts(wrapped)
        if parts is None:
            if self.describe(name) is MasterState.ABSENT:
                raise self._gone(name)
            raise SealBrokenError
        wrap_id, blobs = parts
        failures: list[tuple[Custodian, CustodianError]] = []
        broken = None
        with ExitStack() as wiped:
            root = wiped.enter_context(Key(bytearray(KEY_BYTES)))
            for place, (member, blob) in enumerate(zip(self._members, blobs, strict=True)):
                try:
                    with member.unwrap(name, blob, self._bound(wrap_id, place, bound_to)) as share:
                        _xor_into(root, share)
                except SealBrokenError as error:
                    broken = error
                except CustodianError as error:
                    failures.append((member, error))
            for _, failure in failures:
                if isinstance(failure, MasterGoneError):
                    raise self._gone(name) from failure
            for member, failure in failures:
                raise _again(failure, f"{member.uri}: {failure}") from failure
            if broken is not None:
                raise SealBrokenError from broken
            return Key.copy_of(root.reveal())

    def describe(self, name: str) -> MasterState:
        """See `Custodian.describe`. ABSENT as soon as one member says so: nothing can be read without it."""
        silent = None
        for member in self._members:
            try:
                if member.describe(name) is MasterState.ABSENT:
                    return MasterState.ABSENT
            except CustodianUnavailableError as error:
                silent = _again(error, f"{member.uri}: {error}")
        if silent is not None:
            raise silent
        return MasterState.LIVE

    def expires_at(self, name: str) -> datetime | None:
        """See `Custodian.expires_at`: the earliest end among the members, since it ends the whole."""
        try:
            ends = [member.expires_at(name) for member in self._members]
        except MasterGoneError as gone:
            raise self._gone(name) from gone
        return min((end for end in ends if end is not None), default=None)

    def destroy(self, name: str) -> None:
        """See `Custodian.destroy`. Every member is asked, also after another has failed; all must confirm."""
        failures: list[tuple[Custodian, CustodianError]] = []
        for member in self._members:
            try:
                member.destroy(name)
            except CustodianError as failed:
                failures.append((member, failed))
        if not failures:
            return
        left = " ".join(f"{member.uri} has not confirmed: {failed}" for member, failed in failures)
        unconfirmed = {id(member) for member, _ in failures}
        done = ", ".join(member.uri for member in self._members if id(member) not in unconfirmed)
        message = (
            f"{left} The master {name} cannot be read any more all the same: {done} confirmed. "
            "The destruction is recorded when every member has confirmed. Repeat."
            if done
            else f"{left} Nothing has confirmed the destruction of {name}. Repeat."
        )
        # Where one will not change its mind, repeating does not help.
        decided = next((error for _, error in failures if not isinstance(error, CustodianUnavailableError)), None)
        first = decided or failures[0][1]
        raise _again(first, message) from first

    def names(self) -> frozenset[str]:
        """See `Custodian.names`: what is left at any member."""
        return frozenset[str]().union(*(member.names() for member in self._members))

    def _bound(self, wrap_id: bytes, place: int, bound_to: bytes) -> bytes:
        return context("shredvault split share v1", wrap_id, bytes([place, len(self._members)]), bound_to)

    def _parts(self, wrapped: bytes) -> tuple[bytes, list[bytes]] | None:
        """The wrap's id and each member's blob; None where the lengths do not fit exactly."""
        blobs, at = [], _ID_BYTES
        for _ in self._members:
            end = at + _LENGTH_BYTES
            size = int.from_bytes(wrapped[at:end], "big")
            at = end + size
            if size == 0 or at > len(wrapped):
                return None
            blobs.append(wrapped[end:at])
        return (wrapped[:_ID_BYTES], blobs) if at == len(wrapped) else None

    def _gone(self, name: str) -> MasterGoneError:
        """Say which members have lost the master and which have not."""
        said: dict[str, list[str]] = {"absent": [], "live": [], "silent": []}
        for member in self._members:
            try:
                said[member.describe(name).value].append(member.uri)
            except CustodianError:
                said["silent"].append(member.uri)
        if not said["live"] and not said["silent"]:
            return MasterGoneError(f"There is no master named {name} at any member.")
        message = (
            f"The master {name} is gone at {', '.join(said['absent'])}, and nothing under it can be read any more."
        )
        if said["live"]:
            message += (
                f" It is still at {', '.join(said['live'])}: if no destruction was ordered, it was done elsewhere."
            )
        if said["silent"]:
            message += f" No answer from {', '.join(said['silent'])}."
        return MasterGoneError(message)


def _again(error: CustodianError, message: str) -> CustodianError:
    """The same kind of failure, in the words of the whole."""
    if isinstance(error, CustodianUnavailableError):
        return CustodianUnavailableError(message)
    return CustodianError(message)


def _xor_into(target: Key, other: Key) -> None:
    # Byte by byte: Python keeps the 256 small integers for ever, so no copy of either key arises.
    into, by = target.reveal(), other.reveal()
    for at in range(KEY_BYTES):
        into[at] ^= by[at]
