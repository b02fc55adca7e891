"""Opens the custodian that a URI names.

A custodian's library is imported only when a URI asks for it: whoever uses files needs neither an HSM's nor a
key service's client installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote, urlsplit

from keystore.errors import CustodianError

from .contract import Custodian
from .credentials import Ask
from .file import FileCustodian

__all__ = ["Ask", "open_custodian"]

_EXTRAS: Final = {"pkcs11": "hsm", "hvac": "openbao", "requests": "openbao"}
"""By the package that is missing: what to install."""


def open_custodian(uri: str, *, away_from: Path, ask: Ask | None = None, make: bool = False) -> Custodian:
    """Open the custodian that `uri` names: `file:`, `pkcs11:`, `openbao:`, `awskms:` or `split:`.

    Args:
        uri: which custodian, and where.
        ask: asks the operator for a PIN or token; None where nobody can be asked.
        away_from: the vault's home; a custodian that keeps keys in files refuses to keep them in there.
        make: make what a new custodian needs (the folder of `file:`); for one that is in use it must be there.

    Raises:
        CustodianError: the URI names no custodian this version has, or one whose library is not installed.
        CustodianUnavailableError: it does not answer, or its folder is not there.
    """
    scheme = uri.partition(":")[0]
    try:
        if scheme == "pkcs11":
            from .pkcs11 import Pkcs11Custodian  # noqa: PLC0415

            return Pkcs11Custodian.from_uri(uri, ask)
        if scheme == "openbao":
            from .openbao import OpenBaoCustodian  # noqa: PLC0415

            return OpenBaoCustodian.from_uri(uri, ask)
        if scheme == "awskms":
            from .awskms import AwsKmsCustodian  # noqa: PLC0415

            return AwsKmsCustodian.from_uri(uri)
        if scheme == "split":
            from .split import SplitCustodian  # noqa: PLC0415

            return SplitCustodian.from_uri(
                uri, lambda member: open_custodian(member, away_from=away_from, ask=ask, make=make)
            )
    except ModuleNotFoundError as missing:
        _not_installed(scheme, missing)
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc == "" and parts.path.startswith("/"):
        return FileCustodian(Path(unquote(parts.path)), away_from=away_from, make=make)
    message = (
        "The custodian must be given as file:/absolute/folder, pkcs11:…, openbao:…, awskms:REGION or split:URI,URI."
    )
    raise CustodianError(message)


def _not_installed(scheme: str, missing: ModuleNotFoundError) -> NoReturn:
    extra = _EXTRAS.get((missing.name or "").partition(".")[0])
    if extra is None:
        raise missing
    message = (
        f"The custodian {scheme}: needs a package that is not installed. In the folder of Shredvault's sources: "
        f"pip install '.[{extra}]'."
    )
    raise CustodianError(message) from missing
