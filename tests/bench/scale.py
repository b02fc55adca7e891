"""Destruction at the size of a city: 900,000 records against 9,000, and sweeps of a day and of a scattering.

The records are real rows under real key pages; only their sheets are short, because nothing here opens one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from keystore import COHORT_SLOTS, Tree, TreeChange
from tests.people import founded_by
from tests.people import frozen as frozen_with_authority
from vault.catalogue import keys
from vault.catalogue.schema import cohorts, records
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.destruction.carrying_out import carry_out
from vault.home import EMBEDDED, Founding, found_vault, open_vault
from vault.ids import new_id
from vault.law.retention import Cause
from vault.trees.keyring import grow

__all__ = [
    "FIRST_DUE",
    "RECORDS_PER_DAY",
    "Timing",
    "city",
    "destroy_timed",
    "founding_in",
    "keystore_bytes_per_record",
    "scatter_due",
]

RECORDS_PER_COHORT = COHORT_SLOTS - 1
RECORDS_PER_DAY = 1_233
START = datetime(2026, 1, 5, 15, tzinfo=UTC)
FIRST_DUE = date(2028, 1, 6)


@dataclass(frozen=True)
class Timing:
    """Seconds of the parts of a destruction, and what it wrote."""

    freeze: float
    staging: float
    condemn_to_death: float
    whole: float
    destroyed: int
    pages: int
    mirror_bytes: int
    catalogue_bytes: int
    """Written to the catalogue's files, checkpoints included, freezing included."""


def founding_in(folder: Path) -> Founding:
    """A vault with the embedded object store and the file custodian."""
    return founded_by(
        Founding(
            home=folder / "home",
            objects=EMBEDDED,
            objects_folder=folder / "objects",
            bucket="shredvault",
            region="us-east-1",
            custodian=f"file:{folder}/keys",
            time_zone="America/New_York",
            retention_months=24,
        )
    )


@contextmanager
def city(folder: Path, count: int, *, per_day: int = RECORDS_PER_DAY) -> Iterator[tuple[Vault, SimulatedClock]]:
    """Found a vault with `count` retained records, `per_day` of them due on each day from 2028-01-06 on."""
    clock = SimulatedClock(START)
    found_vault(founding_in(folder), clock)
    with open_vault(folder / "home", clock) as vault:
        _fill(vault, count, per_day)
        yield vault, clock


def _fill(vault: Vault, count: int, per_day: int) -> None:
    plan = [
        (FIRST_DUE + timedelta(days=start // per_day), min(RECORDS_PER_COHORT, count - start))
        for start in range(0, count, RECORDS_PER_COHORT)
    ]
    now = vault.clock.now()

    def commit(tx: sa.Connection) -> None:
        tx.execute(
            sa.insert(cohorts),
            [
                {"id": number, "due_on": day, "opened_at": now, "next_slot": size + 1}
                for number, (day, size) in enumerate(plan, 1)
            ],
        )

    grow(vault, Tree.ACTIVE, lambda _tx, _tree: TreeChange(opened=range(1, len(plan) + 1)), commit)
    with vault.catalogue.write() as tx:
        for number, (_, size) in enumerate(plan, 1):
            tx.execute(
                sa.insert(records),
                [
                    {
                        "id": new_id(),
                        "cohort_id": number,
                        "slot": slot,
                        "policy_version": 1,
                        "opened_at": now,
                        "completed_at": now,
                        "due_on": FIRST_DUE + timedelta(days=((number - 1) * RECORDS_PER_COHORT + slot - 1) // per_day),
                        "sheet": b"-",
                    }
                    for slot in range(1, size + 1)
                ],
            )


def scatter_due(vault: Vault, count: int, today: date) -> None:
    """Make `count` records that are due later, scattered over all cohorts, due today."""
    with vault.catalogue.write() as tx:
        ids = list(tx.execute(sa.select(records.c.id).where(records.c.due_on > today)).scalars())
        chosen = random.Random(1).sample(ids, count)
        tx.execute(
            sa.update(records).where(records.c.id == sa.bindparam("r")).values(due_on=today), [{"r": r} for r in chosen]
        )


def keystore_bytes_per_record(vault: Vault, count: int) -> float:
    """Bytes of the active tree for each record."""
    with vault.catalogue.read() as tx:
        return keys.page_bytes(tx, Tree.ACTIVE) / count


def destroy_timed(vault: Vault, cause: Cause) -> Timing:
    """Freeze and carry out, with the time of each part."""
    written = _bytes_written()
    begun = time.perf_counter()
    destruction_id = frozen_with_authority(vault, cause)
    frozen = time.perf_counter()
    marks: dict[str, float] = {}
    done = carry_out(vault, destruction_id, lambda step: marks.__setitem__(step, time.perf_counter()))
    ended = time.perf_counter()
    return Timing(
        freeze=frozen - begun,
        staging=marks["condemn"] - frozen,
        condemn_to_death=marks["record"] - marks["condemn"],
        whole=ended - frozen,
        destroyed=done.condemned or 0,
        pages=done.observed["pages_rewritten"],
        mirror_bytes=done.observed["mirror_bytes"],
        catalogue_bytes=_bytes_written() - written,
    )


def _bytes_written() -> int:
    """What this process handed to `write` so far. Sockets are not counted: botocore and urllib3 use `send`."""
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])
