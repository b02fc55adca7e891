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


def open_custodian(uri: str, *, away_from: Path, ask: Ask | None = None) -> Custodian:
    """Open `file:/absolute/folder`, `awskms:REGION?…` or `split:URI,URI`.

    What only one custodian needs is imported when that one is opened.

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
    if parts.scheme == "awskms":
        from .awskms import AwsKmsCustodian  # noqa: PLC0415  # boto3 takes half a second, and most vaults have no KMS

        return AwsKmsCustodian.from_uri(uri)
    if parts.scheme == "split":
        from .split import SplitCustodian  # noqa: PLC0415  # like every custodian but the default one

        return SplitCustodian.from_uri(uri, lambda member: open_custodian(member, away_from=away_from, ask=ask))
    message = "The custodian must be given as file:/absolute/folder, awskms:REGION or split:URI,URI."
    raise CustodianError(message)
