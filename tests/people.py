"""People with keys: made once a session, they sign through `ssh-keygen` as the people of a program would."""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vault.context import Vault
from vault.destruction.drafting import Terms, draft_scrub
from vault.destruction.frozen_lists import freeze_ordered, freeze_sunset, freeze_sweep
from vault.founding import Founding
from vault.ids import DestructionId
from vault.law.people import Person, Role
from vault.law.policy import Policy
from vault.law.retention import Cause
from vault.orders import Accepted, Order, accept_order
from vault.orders.signatures import ORDERS, POLICIES

HEAD, COUNSEL, AUTHORITY, OFFICER, AUDITOR = (
    "ada.head",
    "carl.counsel",
    "rita.authority",
    "otto.officer",
    "iris.auditor",
)
ROLES = {
    HEAD: Role.AGENCY_HEAD,
    COUNSEL: Role.COUNSEL,
    AUTHORITY: Role.RECORDS_AUTHORITY,
    OFFICER: Role.RECORDS_OFFICER,
    AUDITOR: Role.AUDITOR,
}
APPROVERS = (HEAD, COUNSEL, AUTHORITY)


@dataclass(frozen=True)
class Key:
    """A private key in a file, and the line that is public."""

    path: Path
    public: str

    def sign(self, body: bytes, namespace: str = ORDERS) -> bytes:
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.path), "-"],
            input=body,
            check=True,
            capture_output=True,
        )
        return done.stdout


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="shredvault-people-")


@cache
def key_of(name: str) -> Key:
    """The key of a person; another name, another key."""
    path = Path(_folder().name) / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return Key(path, path.with_suffix(f"{path.suffix}.pub").read_text("utf-8").strip())


@cache
def signed(name: str, body: bytes, namespace: str = ORDERS) -> bytes:
    return key_of(name).sign(body, namespace)


def signers(names: Iterable[str] = tuple(ROLES)) -> str:
    """An allowed-signers file."""
    return "".join(f"{name}@city.example {key_of(name).public}\n" for name in names)


def people() -> tuple[Person, ...]:
    return tuple(Person(name, frozenset({role}), frozenset({f"{name}@city.example"})) for name, role in ROLES.items())


def staffed(policy: Policy) -> Policy:
    """The same policy, with the people of these tests."""
    return replace(policy, people=people(), allowed_signers=signers())


@cache
def founding_policy(time_zone: str = "America/New_York", retention_months: int = 24) -> bytes:
    return staffed(Policy(1, time_zone, retention_months)).encode()


def founding_approvals(document: bytes) -> tuple[bytes, ...]:
    return tuple(signed(name, document, POLICIES) for name in APPROVERS)


def written_policy(folder: Path, policy: Policy | None = None) -> list[str]:
    """The words after `shredvault init` by which a vault gets a policy that these people signed."""
    folder.mkdir(parents=True, exist_ok=True)
    document = staffed(policy).encode() if policy else founding_policy()
    (folder / "policy.json").write_bytes(document)
    words = ["--policy", str(folder / "policy.json")]
    for number, signature in enumerate(founding_approvals(document)):
        path = folder / f"approval-{number}.sig"
        path.write_bytes(signature)
        words += ["--approval", str(path)]
    return words


def edited(body: bytes, **members: Any) -> bytes:
    """A document with other members, written as canonically as before."""
    content = {**json.loads(body), **members}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


TERMS = Terms("The program ends.", "Local law 35 of 2015", cooling_off_hours=0)


def submitted(vault: Vault, order: Order, *names: str) -> Accepted:
    """An order, signed by these people and accepted."""
    body = order.encode()
    return accept_order(vault, body, [signed(name, body) for name in names or APPROVERS])


def frozen(vault: Vault, cause: Cause) -> DestructionId:
    """A frozen list with the authority that its cause needs."""
    if cause is Cause.SWEEP:
        return freeze_sweep(vault)
    if cause is Cause.SUNSET:
        return freeze_sunset(vault)
    return freeze_ordered(vault, submitted(vault, draft_scrub(vault, TERMS).order).id)


def founded_by(founding: Founding) -> Founding:
    """The same founding, with the people of these tests."""
    document = founding_policy(founding.time_zone, founding.retention_months)
    return replace(founding, policy=document, approvals=founding_approvals(document))
