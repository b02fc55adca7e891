"""Two hosts, with homes, names and process ids of their own, serve one vault: one PostgreSQL, bucket and custodian."""

import json
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from tests.cli.operator import Operator
from tests.fences.service import Service, eventually, pdf
from tests.people import written_policy

NAMESPACES = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_part() -> bool:
    return subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode == 0


pytestmark = [pytest.mark.skipif(not can_part(), reason="namespaces of one's own take root"), pytest.mark.long]


@dataclass(frozen=True)
class Elsewhere(Operator):
    """Somebody on a machine of his own, as far as names and process ids go."""

    name: str = ""
    database: str = ""

    @property
    def home(self) -> Path:
        return self.folder / self.name

    def command(self, *words: str) -> list[str]:
        renamed = ["sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return [*NAMESPACES, *renamed, *super().command(*words)]


@dataclass
class Host(Service):
    @property
    def place(self) -> Elsewhere:
        assert isinstance(self.operator, Elsewhere)
        return self.operator

    def rows(self, query: str) -> list[Any]:
        with closing(psycopg.connect(self.place.database)) as connection:
            return connection.execute(query.encode()).fetchall()

    def nodes(self) -> set[str]:
        """Workers of this host that have the newest tree."""
        current = dict(self.rows("SELECT tree, version FROM trees"))
        found = self.rows("SELECT id, active_version FROM nodes WHERE host = '" + self.place.name + "' AND replaced")
        return {node for node, version in found if version == current["active"]}

    def until_complete(self) -> None:
        eventually(lambda: len(self.nodes()) == self.count, "all workers serve")

    def die(self) -> None:
        """As when somebody pulls the plug: every process at once."""
        self.process.kill()
        self.process.wait()

    def kill(self) -> None:
        """`unshare` itself heeds no SIGTERM."""
        self.die()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def hosts(stranger: Operator, database: str) -> Iterator[tuple[Host, Host]]:
    places = [
        Elsewhere(
            stranger.folder,
            stranger.environment | {"SHREDVAULT_HOME": str(stranger.folder / name)},
            stranger.forker,
            name,
            database,
        )
        for name in ("brooklyn", "queens")
    ]
    assert places[0].run("init", "--database", database, *written_policy(places[0].folder)).code == 0
    places[1].home.mkdir(mode=0o700)
    for file in ("vault.json", "bucket.json", "signing.json"):
        shutil.copy(places[0].home / file, places[1].home / file)
    started: list[Host] = []
    try:
        started.append(Host.start(places[0], 1))
        started.append(Host.start(places[1], 1))
        # Tokens are the vault's, not a host's.
        started[1] = replace(started[1], center=started[0].center)
        yield started[0], started[1]
    finally:
        for host in started:
            host.kill()


def test_one_host_dies_and_nothing_is_lost(hosts: tuple[Host, Host]) -> None:
    here, there = hosts
    content = pdf(50_000)
    with here.client() as ours, there.client() as theirs:
        kept = here.file(ours, content)
        assert there.get(theirs, kept).content == content
        (due,) = here.operator.file(1)
        assert there.get(theirs, due, "a.png").status_code == 200
        eventually(lambda: len(here.nodes() | there.nodes()) == 2, "each host has its lease")
        before = here.nodes() | there.nodes()

        swept = here.operator.run("sweep", "--json")

        assert swept.data["counts"]["records_destroyed"] == 1
        assert swept.data["observed"]["nodes_exited"] == 2
        for host in hosts:
            host.until_complete()
        assert not before & (here.nodes() | there.nodes())
    with here.client() as ours, there.client() as theirs:
        for host, client in ((here, ours), (there, theirs)):
            assert host.get(client, due, "a.png").status_code == 410
            assert host.get(client, kept).content == content

    acknowledged: dict[str, bytes] = {}
    filer = threading.Thread(target=keep_filing, args=(there, acknowledged))
    filer.start()
    eventually(lambda: len(acknowledged) >= 3, "records are filed")
    there.die()
    filer.join()
    (due,) = here.operator.file(1)

    swept = here.operator.run("sweep", "--json")

    assert swept.data["counts"]["records_destroyed"] == 1
    assert swept.data["observed"]["nodes_presumed_dead"] == 1, "nobody saw them end"
    here.until_complete()
    with here.client() as ours:
        assert here.get(ours, due, "a.png").status_code == 410
        for record, filed in acknowledged.items():
            assert here.get(ours, record).content == filed
        assert here.get(ours, kept).content == content
    shown = json.loads(here.operator.run("status", "--json").out)
    assert shown["records"]["retained"] >= len(acknowledged) + 1


def keep_filing(host: Host, acknowledged: dict[str, bytes]) -> None:
    """File until nobody answers; what was acknowledged as complete is written down."""
    with suppress(httpx2.TransportError), host.client() as client:
        while True:
            content = pdf(20_000 + secrets.randbelow(20_000))
            acknowledged[host.file(client, content)] = content
