"""Where a custodian's PIN or token comes from: a file, the environment, a credential of systemd, or a person.

Never from a URI: it is written into settings and destruction records, and is the same for every process of a vault,
while the API and the destroyer may have a secret each, in a folder that only the one service sees.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keystore.errors import CustodianError

__all__ = ["Ask", "Credential"]

Ask = Callable[[str], str]
"""Asks a person for a secret, given the question; for custodians whose secret stands in no file and no variable."""

_BYTES_MAX: Final = 4096
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what `LoadCredential=` names."""


class Credential:
    """One secret and where it may stand. File and environment are read anew at every use.

    What a person typed is remembered by this process, because nobody can be asked again when a connection has to be
    made anew; it is a `str`, which CPython cannot wipe.
    """

    __slots__ = ("_ask", "_asked", "_credential", "_file", "_of", "_variables", "_what")

    def __init__(
        self, what: str, of: str, *, file: Path | None, variables: tuple[str, ...], credential: str, ask: Ask | None
    ) -> None:
        """Look for `what` (for messages: "PIN of the HSM") in `file` alone, or where there is none in the others.

        `of`: the custodian's URI, for the question: there may be several that want a PIN. `credential`: the name of
        the file in which systemd hands it to a service.
        """
        self._credential = credential
        self._what = what
        self._of = of
        self._file = file
        self._variables = variables
        self._ask = ask
        self._asked = ""

    def __repr__(self) -> str:
        return f"<Credential: {self._what}>"

    def read(self) -> str:
        """Find the secret.

        Raises:
            CustodianError: it stands nowhere, or in a file that is open to other users.
        """
        if self._file is not None:
            return self._from_file(self._file)
        for variable in self._variables:
            if value := os.environ.get(variable):
                return value
        if (folder := os.environ.get(_CREDENTIALS)) and (path := Path(folder) / self._credential).exists():
            return self._from_file(path)
        if self._ask is not None and not self._asked:
            self._asked = self._ask(f"The {self._what} for {self._of}: ")
        if self._asked:
            return self._asked
        message = (
            f"The {self._what} is missing: put it into a file that the custodian's URI names, "
            f"or into the environment as {' or '.join(self._variables)}, or give a service of systemd the credential "
            f"{self._credential}."
        )
        raise CustodianError(message)

    def _from_file(self, path: Path) -> str:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                facts = os.fstat(descriptor)
                content = file.read(_BYTES_MAX + 1)
        except OSError as error:
            message = f"The file with the {self._what} cannot be read ({error.strerror}): {path}"
            raise CustodianError(message) from error
        if not stat.S_ISREG(facts.st_mode) or facts.st_mode & _open_bits(path):
            message = f"The file with the {self._what} is open to other users; its mode must be 0600: {path}"
            raise CustodianError(message)
        try:
            secret = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            # Not chained: that error shows the bytes.
            secret = ""
        if not secret or len(content) > _BYTES_MAX:
            message = f"The file with the {self._what} must have one line of text: {path}"
            raise CustodianError(message)
        return secret


def _open_bits(path: Path) -> int:
    # systemd gives credentials to a service by an access list, whose mask shows as the bits of the group; the folder
    # is the service's alone.
    folder = os.environ.get(_CREDENTIALS)
    return 0o007 if folder and path.parent == Path(folder) else 0o077
