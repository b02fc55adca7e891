"""A vault that lasts as long as a command: in a temporary folder, with its own object store, people and calendar."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.home import EMBEDDED, Founding, found_vault, open_vault
from vault.law.policy import Sunset
from vault.orders.signatures import POLICIES

from .demo_people import DemoPeople

__all__ = ["TemporaryVault", "temporary_vault"]


@dataclass(frozen=True, slots=True)
class TemporaryVault:
    """An open vault, and who and what belongs to it."""

    folder: Path
    vault: Vault
    clock: SimulatedClock
    people: DemoPeople


@contextmanager
def temporary_vault(
    purpose: str, first_day: datetime, retention_months: int, sunset: Sunset | None = None
) -> Iterator[TemporaryVault]:
    """Found a vault in a temporary folder (0700); remove everything at the end."""
    with ExitStack() as built:
        folder = Path(tempfile.mkdtemp(prefix=f"shredvault-{purpose}-"))
        built.callback(shutil.rmtree, folder, ignore_errors=True)
        clock = SimulatedClock(first_day)
        people = DemoPeople(folder / "people")
        policy = people.policy(retention_months, sunset)
        found_vault(
            Founding(
                home=folder / "home",
                objects=EMBEDDED,
                objects_folder=folder / "objects",
                bucket="shredvault",
                region="us-east-1",
                custodian=f"file:{folder / 'keys'}",
                time_zone="America/New_York",
                retention_months=retention_months,
                policy=policy,
                approvals=tuple(people.sign(policy, POLICIES)),
            ),
            clock,
        )
        yield TemporaryVault(folder, built.enter_context(open_vault(folder / "home", clock)), clock, people)
