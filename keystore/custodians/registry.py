"""Opens the custodian that a URI names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from keystore.errors import CustodianError

from .contract import Custodian
from .file import FileCustodian

__all__ = ["Ask", "open_custodian"]

Ask = Callable[[str], str]
"""Asks a person for a secret, given the question; for custodians whose secret stands in no file and no variable."""


def open_custodian(uri: str, *, away_from: Path, ask: Ask | None = None) -> Custodian:  # noqa: ARG001
    """Open `file:/absolute/folder`.

    Args:
        uri: which custodian, and where.
        ask: asks the operator for a PIN or token; None where nobody can be asked.
        away_from: the vault's home; a custodian that keeps keys in files refuses to keep them in there.

    Raises:
        CustodianError: the URI names no custodian this version has.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc == "" and parts.path.startswith("/"):
        return FileCustodian(Path(unquote(parts.path)), away_from=away_from)
    message = "The custodian must be given as file:/absolute/folder."
    raise CustodianError(message)
