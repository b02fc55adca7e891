"""One name, one master, at custodians that offer no way to create "only if absent".

PKCS#11 lets any number of objects carry one label, and Transit answers the creation of an existing key like that
of a new one. So a master stands there under its name *and* random letters of its own, and creators settle it thus:

1. look: does anybody have the name? Then it is taken.
2. make a candidate of one's own.
3. look again. Alone: it is the master. Not alone: remove the candidate, wait a random moment, go to 1.

At most one wins: of two winners, the one whose candidate came later would have seen the other's in step 3. At least one
wins, if nobody is cut off: of all who give up in step 1, take the last to look; the candidate it saw belongs to
somebody who looks later still, or has won. Both hold only where the custodian shows everybody at once what it has done;
a custodian that answers from lagging replicas may let two creators believe that they won. What is found then is
two masters under one name, which every use refuses.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from keystore.errors import CustodianError, MasterExistsError, MasterGoneError

__all__ = ["CANDIDATE_LETTERS", "checked_name", "claim", "is_name", "settled"]

CANDIDATE_LETTERS: Final = 16
"""Hexadecimal letters that tell one candidate from another."""

_Found = TypeVar("_Found")
_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_TRIES: Final = 64
_PAUSE_STEPS: Final = 20
_PAUSE_STEP_S: Final = 0.002
_SETTLED_WITHIN: Final = 60
"""Looks, a pause apart, after which several masters of one name count as such, and not as a race that goes on."""


def checked_name(name: str) -> str:
    """Give `name` back.

    Raises:
        CustodianError: it is no name of a master.
    """
    if not is_name(name):
        message = "A master's name has 1 to 64 of a-z, 0-9 and -."
        raise CustodianError(message)
    return name


def is_name(text: str) -> bool:
    """Say whether `text` can be the name of a master."""
    return _NAME.fullmatch(text) is not None


def claim(
    name: str,
    look: Callable[[], Collection[str]],
    make: Callable[[str], None],
    remove: Callable[[str], None],
) -> None:
    """Make the one master of `name`.

    Args:
        name: for messages.
        look: the candidates that the custodian has under the name, by their letters.
        make: makes a candidate.
        remove: removes a candidate, also one that was made in part or not at all.

    Raises:
        MasterExistsError: the name is taken.
        CustodianError: the custodian refused; what was made of the candidate is removed, if the custodian lets us.
    """
    for _ in range(_TRIES):
        if look():
            message = f"A master named {name} exists already."
            raise MasterExistsError(message)
        mine = secrets.token_hex(CANDIDATE_LETTERS // 2)
        try:
            make(mine)
            seen = set(look())
        except CustodianError:
            with contextlib.suppress(CustodianError):
                remove(mine)
            raise
        if seen == {mine}:
            return
        remove(mine)
        if mine not in seen:
            message = f"The custodian does not show the master {name} that it has just made."
            raise CustodianError(message)
        _pause()
    message = f"The master {name} could not be made: others keep making one of the same name."
    raise CustodianError(message)


def settled(name: str, look: Callable[[], Collection[_Found]]) -> _Found:
    """The one master of `name`, once losing candidates are gone.

    Raises:
        MasterGoneError: there is none.
        CustodianError: there are several, and stay.
    """
    for _ in range(_SETTLED_WITHIN):
        found = look()
        if not found:
            message = f"There is no master named {name}."
            raise MasterGoneError(message)
        if len(found) == 1:
            return next(iter(found))
        _pause()
    message = f"The custodian has several masters named {name}, so none of them is used."
    raise CustodianError(message)


def _pause() -> None:
    """A random moment, so that those who met once do not meet again."""
    time.sleep((1 + secrets.randbelow(_PAUSE_STEPS)) * _PAUSE_STEP_S)
