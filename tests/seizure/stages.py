"""Stages: a vault on one choice of catalogue, custodian and bucket, and what of the custodian can be copied."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random

from keystore import open_custodian
from keystore.custodians import Custodian
from keystore.secret import KEY_BYTES
from tests.people import founding_approvals, staffed
from tests.seizure.instruments import Notes, WatchedCustodian
from tests.vault.databases import Databases
from tests.vault.memory_s3 import MemoryBucket
from tests.vault.world import START, World
from vault.access import Role, authenticate, create_token
from vault.catalogue import Catalogue
from vault.clocks.clock import SimulatedClock
from vault.clocks.trusted_time import simulated_sources
from vault.context import Vault
from vault.founding import Founding, found_catalogue
from vault.holds.sealed import draw_key
from vault.keys.custody import Custody
from vault.law.policy import Policy
from vault.log import SigningKey

UNWRAP_ALL = """
import json, sys
from pathlib import Path
from keystore import KeystoreError, open_custodian
asked = json.load(sys.stdin)
custodian = open_custodian(asked["uri"], away_from=Path("/nowhere"))
for master in sorted(custodian.names()):
    for wrapped, bound_to in asked["roots"]:
        try:
            key = custodian.unwrap(master, bytes.fromhex(wrapped), bytes.fromhex(bound_to))
        except KeystoreError:
            continue
        print(bytes(key.reveal()).hex())
"""


@dataclass
class StageWorld(World):
    """A world whose custodian is any, and watched."""

    watched: WatchedCustodian = field(kw_only=True)

    def restart(self) -> None:
        self.vault.catalogue.close()
        self.vault = _vault(self.folder, self.vault.vault_id, self.vault, self.watched, self.database)


def _vault(folder: Path, vault_id: bytes, like: Vault, custodian: WatchedCustodian, database: str) -> Vault:
    return Vault(
        vault_id,
        Catalogue(database),
        like.bucket,
        Custody.of(custodian),
        like.clock,
        lock_file=folder / "home" / "destruction.lock",
        settle=lambda: None,
        time=like.time,
        signing=SigningKey.make(folder / "home", vault_id),
    )


@dataclass(frozen=True)
class CopiedStorage:
    """How the adversary copies what a custodian keeps, and puts it back where it was to use it."""

    copy: Callable[[Path], None]
    put_back: Callable[[Path], None]


@dataclass
class Stage:
    """One vault, its real custodian, and the copies that were taken of the custodian's storage."""

    folder: Path
    world: World
    real: Custodian
    notes: Notes
    storage: CopiedStorage
    copies: list[Path] = field(default_factory=list)
    masters: set[bytes] = field(default_factory=set)
    """The values of all masters, where they stand in files."""

    def copy_custodian(self) -> None:
        """What a backup of the custodian's machine has from now on."""
        place = self.folder / "copies" / str(len(self.copies))
        place.parent.mkdir(exist_ok=True)
        self.storage.copy(place)
        self.copies.append(place)
        if self.real.uri.startswith("file:"):
            files = (path.read_bytes() for path in place.rglob("*") if path.is_file())
            self.masters |= {data for data in files if len(data) == KEY_BYTES}

    def unwrap_with_copies(self, roots: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
        """Every root key that some copy of the custodian opens, by (wrapped, bound to).

        In a process of its own: a custodian's library may remember what has been exchanged below it.
        """
        asked = {"uri": self.real.uri, "roots": [(wrapped.hex(), bound.hex()) for wrapped, bound in roots]}
        found: set[bytes] = set()
        for place in self.copies:
            self.storage.put_back(place)
            done = subprocess.run(
                [sys.executable, "-c", UNWRAP_ALL], input=json.dumps(asked), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            found |= {bytes.fromhex(line) for line in done.stdout.split()}
        return found

    def close(self) -> None:
        """End what the stage has open."""
        self.world.vault.catalogue.close()


def folder_storage(*folders: Path) -> CopiedStorage:
    """The storage of custodians that keep their masters in folders."""

    def copy(place: Path) -> None:
        for number, folder in enumerate(folders):
            shutil.copytree(folder, place / str(number))

    def put_back(place: Path) -> None:
        for number, folder in enumerate(folders):
            shutil.rmtree(folder)
            shutil.copytree(place / str(number), folder)

    return CopiedStorage(copy, put_back)


@cache
def policy_with_seal() -> bytes:
    """The policy of the games: counsel has a key to seal holds to, whose private half is nowhere here."""
    _private, public = draw_key()
    return replace(staffed(Policy(1, "America/New_York", 24)), counsel_seal=public).encode()


def set_stage(
    folder: Path, databases: Databases, notes: Notes, random: Random, uri: str, storage: CopiedStorage
) -> Stage:
    """Found a vault with the custodian at `uri` and a bucket in memory that forgets nothing."""
    home = folder / "world" / "home"
    home.mkdir(parents=True, mode=0o700)
    real = open_custodian(uri, away_from=home, make=True)
    watched = WatchedCustodian(real, notes)
    database = databases.new(home)
    clock = SimulatedClock(START)
    vault_id = random.randbytes(16)
    vault = Vault(
        vault_id,
        Catalogue(database),
        MemoryBucket(),
        Custody.of(watched),
        clock,
        lock_file=home / "destruction.lock",
        settle=lambda: None,
        time=simulated_sources(clock),
        signing=SigningKey.make(home, vault_id),
    )
    policy = policy_with_seal()
    founding = Founding(
        home, "-", folder, "-", "-", uri, "America/New_York", 24, policy=policy, approvals=founding_approvals(policy)
    )
    assert found_catalogue(vault, watched, founding)
    callers = [authenticate(vault, create_token(vault, role, role.value)) for role in (Role.CENTER, Role.REVIEWER)]
    world = StageWorld(home.parent, vault, clock, callers[0], callers[1], databases, database, watched=watched)
    return Stage(folder, world, real, notes, storage)
