"""PKCS#11 URIs (RFC 7512), as far as they name a token, a module and where the PIN is.

Every path attribute narrows the match, so one that this version does not know is an error and not ignored: a vault
must not end up on a token that its operator has excluded. An attribute that names an object (`object`, `id`, `type`)
is refused: masters come and go under names of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from keystore.errors import CustodianError

__all__ = ["Pkcs11Uri", "TokenFacts", "parse"]

_SCHEME: Final = "pkcs11:"
_TOKEN_ATTRIBUTES: Final = frozenset(
    {
        *("token", "manufacturer", "model", "serial"),
        *("slot-id", "slot-description", "slot-manufacturer"),
        *("library-manufacturer", "library-description"),
    }
)
_OBJECT_ATTRIBUTES: Final = frozenset({"object", "id", "type"})
_QUERY_ATTRIBUTES: Final = frozenset({"module-path", "module-name", "pin-source"})
# RFC 7512, section 2.3: what may stand unescaped in a path attribute, and in a query attribute.
_PATH_VALUE: Final = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE: Final = re.compile(r"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|%[0-9A-Fa-f]{2})*")
_MODULE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_MODULE_FOLDERS: Final = tuple(
    Path(folder)
    for folder in (
        *("/usr/lib/pkcs11", "/usr/lib/softhsm", "/usr/local/lib/pkcs11", "/usr/lib64/pkcs11"),
        *("/usr/lib/x86_64-linux-gnu/pkcs11", "/usr/lib/aarch64-linux-gnu/pkcs11"),
    )
)
"""Where `module-name` is looked for: the folders that distributions and vendors use for PKCS#11 modules."""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a module says of one token, in the words of RFC 7512."""

    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """A parsed URI. It has no secret in it."""

    text: str
    wanted: dict[str, str]
    """Path attributes, decoded; a token must have all of them."""
    module: Path
    pin_file: Path | None

    def matches(self, facts: TokenFacts) -> bool:
        """Say whether a token is one that the URI means."""
        return all(facts.values[name] == value for name, value in self.wanted.items())


def parse(text: str) -> Pkcs11Uri:
    """Read `pkcs11:token=…;serial=…?module-path=…&pin-source=file:/…`.

    Raises:
        CustodianError: the URI breaks RFC 7512, holds a PIN, or says something this version does not know.
    """
    if not text.startswith(_SCHEME):
        message = "A PKCS#11 URI begins with pkcs11: (RFC 7512)."
        raise CustodianError(message)
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    wanted = _attributes(path.split(";"), _PATH_VALUE)
    for name in wanted:
        if name in _OBJECT_ATTRIBUTES:
            message = f"The PKCS#11 URI must name a token and not an object: leave out {name}=."
            raise CustodianError(message)
        if name not in _TOKEN_ATTRIBUTES:
            message = f"The PKCS#11 URI has an attribute that this version does not know: {_shown(name)}."
            raise CustodianError(message)
    asked = _attributes(query.split("&"), _QUERY_VALUE)
    if "pin-value" in asked:
        message = "The PKCS#11 URI must not hold the PIN, because it is stored; use pin-source=file:/path instead."
        raise CustodianError(message)
    for name in asked:
        if name not in _QUERY_ATTRIBUTES:
            message = f"The PKCS#11 URI has an attribute that this version does not know: {_shown(name)}."
            raise CustodianError(message)
    return Pkcs11Uri(text, wanted, _module(asked), _pin_file(asked.get("pin-source")))


def _attributes(parts: list[str], legal: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        if not part:
            continue
        name, equals, value = part.partition("=")
        # A value is never repeated in a message: it may be a PIN that somebody put in the wrong place.
        if not equals or not legal.fullmatch(value):
            message = f"The PKCS#11 URI is not well formed at {_shown(name)}."
            raise CustodianError(message)
        if name in found:
            message = f"The PKCS#11 URI has {_shown(name)} twice."
            raise CustodianError(message)
        try:
            found[name] = unquote_to_bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"The PKCS#11 URI is not UTF-8 at {_shown(name)}."
            raise CustodianError(message) from error
    return found


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[a-z-]{1,32}", name) else "an attribute"


def _module(asked: dict[str, str]) -> Path:
    path, name = asked.get("module-path"), asked.get("module-name")
    if (path is None) == (name is None):
        message = "The PKCS#11 URI must have either module-path=/path/to/module.so or module-name=…."
        raise CustodianError(message)
    if path is not None:
        if not Path(path).is_absolute():
            message = "The PKCS#11 URI's module-path must be absolute."
            raise CustodianError(message)
        # Links followed: a module that is loaded under two names would be initialised twice, which it refuses.
        return Path(path).resolve()
    if name is None or not _MODULE_NAME.fullmatch(name):
        message = "The PKCS#11 URI's module-name must be a name without folders."
        raise CustodianError(message)
    files = {folder / file for folder in _MODULE_FOLDERS for file in (f"{name}.so", f"lib{name}.so")}
    found = {file.resolve() for file in files if file.is_file()}
    if len(found) != 1:
        message = (
            f"{len(found) or 'No'} PKCS#11 modules of that module-name are installed, and one must be: "
            "use module-path=/path/to/module.so."
        )
        raise CustodianError(message)
    return found.pop()


def _pin_file(source: str | None) -> Path | None:
    if source is None:
        return None
    path = source.removeprefix("file:").removeprefix("//") if source.startswith("file:") else source
    if not path.startswith("/"):
        # Other schemes, and |command, are in the RFC and not here: a program run for its output is one more way in.
        message = "The PKCS#11 URI's pin-source must be file:/absolute/path."
        raise CustodianError(message)
    return Path(path)
