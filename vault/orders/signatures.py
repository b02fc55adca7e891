"""The wall to OpenSSH: signatures of people.

They are made on people's own machines with `ssh-keygen -Y sign`, and verified here with its `-Y verify`. All its key
types verify, keys on FIDO tokens too. Nothing cryptographic is done here.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from vault.errors import OrderRefusedError, SignaturesUnavailableError
from vault.law.people import person_of
from vault.law.policy import Policy

__all__ = ["ORDERS", "POLICIES", "SIGNATURES_MAX", "Approval", "approve", "make_key", "sign_file"]

ORDERS: Final = "shredvault-order@v1"
"""Namespace of signatures on orders: a signature made for anything else does not count."""
POLICIES: Final = "shredvault-policy@v1"
"""Namespace of signatures on the policy with which a vault is founded."""
SIGNATURES_MAX: Final = 12
SIGNATURE_LIMIT_BYTES: Final = 16 * 1024
_COMMAND: Final = "ssh-keygen"
_SECONDS: Final = 20
_GOOD: Final = re.compile(r'^Good "[^"]+" signature for (\S+) with \S+ key (SHA256:\S+)$', re.MULTILINE)
_HEAD: Final = b"-----BEGIN SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class Approval:
    """A signature that was verified, and whose it is."""

    person: str
    roles: tuple[str, ...]
    principal: str
    key: str
    """Fingerprint of the key, `SHA256:…`."""
    signature: str
    """As it was handed in, armored."""

    def encode(self) -> dict[str, Any]:
        """For the catalogue and the ledger."""
        return {
            "person": self.person,
            "roles": list(self.roles),
            "principal": self.principal,
            "key": self.key,
            "signature": self.signature,
        }

    @classmethod
    def decode(cls, content: dict[str, Any]) -> Approval:
        """What `encode` wrote."""
        return cls(**{**content, "roles": tuple(content["roles"])})


def approve(
    body: bytes, signatures: Sequence[bytes], namespace: str, policy: Policy, at: datetime
) -> tuple[Approval, ...]:
    """Verify signatures over `body`, each by another person of the policy.

    Raises:
        OrderRefusedError: one is none, is over something else, is of a key that is not allowed, expired or revoked,
            or a person signed twice.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    # OpenSSH reckons in whole seconds.
    return _approved(body, tuple(signatures), namespace, policy.encode(), at.replace(microsecond=0))


@lru_cache(maxsize=64)
def _approved(
    body: bytes, signatures: tuple[bytes, ...], namespace: str, document: bytes, at: datetime
) -> tuple[Approval, ...]:
    """A pure function of all that it is given, so what was verified once in this process is not verified again."""
    policy = Policy.decode(document)
    if len(signatures) > SIGNATURES_MAX:
        message = f"At most {SIGNATURES_MAX} signatures can be handed in."
        raise OrderRefusedError(message)
    found: list[Approval] = []
    with tempfile.TemporaryDirectory(prefix="shredvault-") as folder:
        allowed, revoked = Path(folder) / "allowed_signers", Path(folder) / "revoked_keys"
        allowed.write_text(policy.allowed_signers, "utf-8")
        revoked.write_text(policy.revoked_keys, "utf-8")
        for signature in signatures:
            one = _verify(body, signature, namespace, policy, at, allowed, revoked)
            # One person never fills two places, whatever keys they hold.
            if any(known.person == one.person for known in found):
                message = f"{one.person} signed twice. Each place needs another person."
                raise OrderRefusedError(message)
            found.append(one)
    return tuple(found)


def _verify(
    body: bytes, signature: bytes, namespace: str, policy: Policy, at: datetime, allowed: Path, revoked: Path
) -> Approval:
    if len(signature) > SIGNATURE_LIMIT_BYTES or not signature.startswith(_HEAD):
        message = "One of the signatures is none: `ssh-keygen -Y sign` writes files that end in .sig."
        raise OrderRefusedError(message)
    path = allowed.with_name("signature")
    path.write_bytes(signature)
    moment = at.strftime("%Y%m%d%H%M%SZ")
    common = ("-s", str(path), "-f", str(allowed), "-O", f"verify-time={moment}")
    # 1. Whose key it is. 2. Whether it signed this, for this purpose, and is not revoked.
    named = _run(("-Y", "find-principals", *common), b"")
    principals = [name for line in named.stdout.decode("utf-8", "replace").splitlines() for name in line.split(",")]
    if named.returncode or not principals:
        message = "A signature is of a key that the policy's allowed-signers file does not have, or has no more."
        raise OrderRefusedError(message)
    principal = principals[0]
    person = person_of(principal, policy.people)
    if person is None:
        message = "A signature is of a key whose principal is nobody of the policy."
        raise OrderRefusedError(message)
    extra = ("-r", str(revoked)) if policy.revoked_keys.strip() else ()
    verified = _run(("-Y", "verify", "-n", namespace, "-I", principal, *common, *extra), body)
    good = _GOOD.search(verified.stdout.decode("utf-8", "replace"))
    if verified.returncode or good is None:
        message = (
            f"The signature of {person.name} does not verify: it is over another document or for another purpose, "
            "or the key was revoked."
        )
        raise OrderRefusedError(message)
    return Approval(person.name, tuple(sorted(person.roles)), principal, good.group(2), signature.decode("ascii"))


def sign_file(path: Path, key: Path, namespace: str, *, quiet: bool = False) -> Path:
    """Sign a file with a person's key, as `ssh-keygen -Y sign` does; asks for a passphrase or a touch at the terminal.

    With `quiet` nothing is asked and nothing printed.

    Returns the signature's path.

    Raises:
        OrderRefusedError: `ssh-keygen` did not sign.
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    try:
        done = subprocess.run(  # noqa: S603
            [_COMMAND, "-Y", "sign", "-n", namespace, "-f", str(key), str(path)],
            check=False,
            capture_output=quiet,
            stdin=subprocess.DEVNULL if quiet else None,
        )
    except OSError as missing:
        raise SignaturesUnavailableError from missing
    if done.returncode:
        message = "ssh-keygen did not sign; it says why above."
        raise OrderRefusedError(message)
    return path.with_name(f"{path.name}.sig")


def make_key(path: Path) -> str:
    """Make a person's key without a passphrase, for rehearsals and demos; returns the public line.

    Raises:
        SignaturesUnavailableError: `ssh-keygen` cannot be run.
    """
    if _run(("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)), b"").returncode:
        raise SignaturesUnavailableError
    return path.with_name(f"{path.name}.pub").read_text("utf-8").strip()


def _run(words: Sequence[str], body: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603
            [_COMMAND, *words],
            input=body,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as missing:
        raise SignaturesUnavailableError from missing
