"""The replay of the rules: what happened in a city from 2015 to 2017, with ten thousand records.

Two records of each filing day are filed as a center files them, with a document. The others are real rows under
real key pages; only their sheets are short, because nothing here opens one.
"""

import shutil
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from api.cli.demo_people import DemoPeople
from api.cli.rehearsal_story import FIRST_DAY, RETENTION_MONTHS, SUNSET, Story
from keystore import COHORT_SLOTS, Tree, TreeChange
from keystore.custodians import FileCustodian
from tests.vault.databases import Databases, on_sqlite
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import Sealed, World, open_world_vault
from vault.access import Role, authenticate, create_token
from vault.catalogue.schema import cohorts, records
from vault.certificates import verify_certificate
from vault.clocks.clock import SimulatedClock
from vault.context import Vault
from vault.founding import Founding, found_catalogue
from vault.ids import new_id
from vault.orders.signatures import POLICIES
from vault.trees import mirror
from vault.trees.keyring import grow

COUNT = 10_000
FILING_DAYS = 20
WITH_DOCUMENT = 2


@dataclass
class Ground:
    """Where the replay plays."""

    world: World
    people: DemoPeople
    stolen: Sealed = field(default_factory=Sealed)

    @property
    def vault(self) -> Vault:
        return self.world.vault

    @property
    def clock(self) -> SimulatedClock:
        return self.world.clock

    def file(self, count: int) -> date:
        for _ in range(min(count, WITH_DOCUMENT)):
            filed = self.world.file()
        due = date.fromisoformat(self.world.value(f"SELECT due_on FROM records WHERE id = '{filed.id}'"))
        if count > WITH_DOCUMENT:
            self._fill(count - WITH_DOCUMENT, due)
        return due

    def _fill(self, count: int, due: date) -> None:
        number = int(self.world.value("SELECT MAX(id) FROM cohorts")) + 1
        assert count < COHORT_SLOTS
        now = self.clock.now()

        def commit(tx: sa.Connection) -> None:
            tx.execute(sa.insert(cohorts).values(id=number, due_on=due, opened_at=now, next_slot=count + 1))

        grow(self.vault, Tree.ACTIVE, lambda _tx, _tree: TreeChange(opened=(number,)), commit)
        with self.vault.catalogue.write() as tx:
            common = {"cohort_id": number, "policy_version": 1, "opened_at": now, "completed_at": now, "due_on": due}
            rows = [{"id": new_id(), "slot": slot, "sheet": b"-", **common} for slot in range(1, count + 1)]
            tx.execute(sa.insert(records), rows)

    def steal(self) -> None:
        packs = [self.vault.bucket.get(name, limit=mirror.PACK_LIMIT_BYTES) for name in self._packs()]
        self.stolen.gather(self.world, packs)
        shutil.copytree(self.world.folder / "keys", self.world.folder / "aside")

    def _packs(self) -> list[str]:
        return list(self.vault.bucket.names(mirror.PREFIX))

    def opened(self, *, with_dead_masters: bool) -> int:
        self.stolen.gather(self.world)
        custodians = [self.world.custodian]
        if with_dead_masters:
            custodians.append(FileCustodian(self.world.folder / "aside", away_from=self.world.folder / "home"))
        places = {(cohort, slot) for cohort, slot in self.world.rows("SELECT cohort_id, slot FROM records")}
        return len(places & self.stolen.reachable(self.world, *custodians))


def ground(folder: Path, databases: Databases) -> Ground:
    home = folder / "home"
    home.mkdir(mode=0o700)
    database, clock = databases.new(home), SimulatedClock(FIRST_DAY)
    people = DemoPeople(folder / "people")
    policy = people.policy(RETENTION_MONTHS, SUNSET)
    vault = open_world_vault(folder, bytes(range(16)), MemoryBucket(), clock, database)
    custodian = FileCustodian(folder / "keys", away_from=home)
    founding = Founding(
        home=home,
        objects="-",
        objects_folder=folder,
        bucket="-",
        region="-",
        custodian=custodian.uri,
        time_zone="America/New_York",
        retention_months=RETENTION_MONTHS,
        policy=policy,
        approvals=tuple(people.sign(policy, POLICIES)),
    )
    assert found_catalogue(vault, custodian, founding)
    center, reviewer = (
        authenticate(vault, create_token(vault, role, role.value)) for role in (Role.CENTER, Role.REVIEWER)
    )
    return Ground(World(folder, vault, clock, center, reviewer, databases, database), people)


@on_sqlite
def test_what_happened_in_2016_and_2017(scratch: Path, databases: Databases) -> None:
    """Nothing dies before the last release; no other decision is needed; the backup opens nothing afterwards."""
    place = ground(scratch, databases)
    told: list[str] = []
    story = Story(place, COUNT, FILING_DAYS, told.append)
    story.play()
    assert [claim for claim in story.claims if not claim.true] == []
    # At each date of the story.
    assert len({claim.day for claim in story.claims}) >= 20
    place.world.assert_destroyed(*place.world.records)
    assert place.world.value("SELECT COUNT(*) FROM records WHERE reclaimed") == COUNT
    notices = [line for line in told if " or less from now" in line]
    assert len(notices) == 4
    at_deadline, last = (one.content for one in story.certificates)
    assert (at_deadline["counts"]["listed"], at_deadline["counts"]["held_out"]) == (0, COUNT)
    assert (last["counts"]["destroyed"], last["counts"]["held_out"]) == (COUNT, 0)
    assert last["dates"]["due"] == {"first": "2017-01-06", "last": "2018-08-05"}
    for certificate in story.certificates:
        with pytest.raises(verify_certificate.InvalidError, match="REHEARSAL"):
            verify_certificate.verify(certificate.document, f"{place.vault.signing.verifier}\n".encode())
    place.vault.catalogue.close()
