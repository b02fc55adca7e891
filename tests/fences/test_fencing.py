"""Nodes: they renew, cut and confirm; a destruction waits for the living and not for the dead."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from keystore import Key, KeyGoneError, Tree
from tests.vault.world import PURPOSE, World, png
from vault.catalogue import Catalogue
from vault.clocks.clock import steady_seconds
from vault.errors import BusyError, CatalogueError, DestroyedError
from vault.ids import RecordId
from vault.keys.key_uses import KeyUses, LeaseOverError, UseCutError
from vault.records.retrieval import read_document
from vault.serving import fences
from vault.serving.fences import LEASE, Fenced, Node, wait_for_nodes
from vault.status import destruction_record


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def version(world: World, tree: str = "active") -> int:
    return int(world.value(f"SELECT version FROM trees WHERE tree = '{tree}'"))


def test_a_node_registers_renews_and_leaves(quick_world: World) -> None:
    node = Node(quick_world.vault)
    assert not node.may_serve
    with node:
        assert node.may_serve
        first = quick_world.value("SELECT lease_until FROM nodes")
        assert quick_world.rows("SELECT active_version, held_version FROM nodes") == [(1, 1)]
        quick_world.advance(seconds=5)
        until(lambda: quick_world.value("SELECT lease_until FROM nodes") > first)
    assert quick_world.rows("SELECT * FROM nodes") == []


def test_a_lease_that_is_fresh_is_not_written_again(quick_world: World) -> None:
    node = Node(quick_world.vault)
    node.beat()
    first = quick_world.value("SELECT lease_until FROM nodes")
    node.beat()
    assert quick_world.value("SELECT lease_until FROM nodes") == first
    quick_world.advance(seconds=4)
    node.beat()
    assert quick_world.value("SELECT lease_until FROM nodes") > first


def test_a_clock_that_is_set_back_does_not_end_a_lease(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = [steady_seconds()]
    monkeypatch.setattr(fences, "steady_seconds", lambda: steady[0])
    node = Node(quick_world.vault)
    node.beat()
    before = quick_world.value("SELECT lease_until FROM nodes")
    quick_world.advance(days=-800)
    for _ in range(3):
        steady[0] += LEASE.total_seconds() - 1
        assert node.may_serve
        node.beat()
    assert quick_world.value("SELECT lease_until FROM nodes") < before


def test_a_node_confirms_a_new_version_after_cutting_the_condemned(quick_world: World) -> None:
    dead, young = quick_world.open(), quick_world.open()
    for record in (dead, young):
        quick_world.upload(record, content=png(2_000_000))
    quick_world.complete(young)
    vault = quick_world.vault
    with Node(vault):
        lease = quick_world.value("SELECT lease_until FROM nodes")
        quick_world.advance(hours=80)
        until(lambda: quick_world.value("SELECT lease_until FROM nodes") > lease)
        reading = read_document(vault, quick_world.reviewer, dead.id, "card.png", PURPOSE)
        other = read_document(vault, quick_world.reviewer, young.id, "card.png", PURPOSE)
        key = reading._use._key
        assert key is not None
        pieces = reading.chunks()
        next(pieces)
        done = quick_world.sweep()
        assert done.observed["nodes_confirmed"] == 1
        # Nothing was polled: when the destruction is complete, the key is gone already.
        with pytest.raises(KeyGoneError):
            key.reveal()
        assert bytes(key._buffer) == bytes(32)
        assert reading._opener is None
        with pytest.raises(DestroyedError):
            next(pieces)
        assert b"".join(other.chunks()) == young.documents["card.png"]
        until(lambda: quick_world.value("SELECT active_version FROM nodes") == version(quick_world))


def test_a_living_node_that_has_not_seen_the_version_blocks(quick_world: World) -> None:
    node = Node(quick_world.vault)
    node.beat()
    finished = threading.Event()
    fenced: list[Fenced] = []

    def wait() -> None:
        fenced.append(wait_for_nodes(quick_world.vault, Tree.ACTIVE, 2))
        finished.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not finished.wait(0.3)
    quick_world.run("UPDATE nodes SET held_version = 2")
    assert not finished.wait(0.2), "the version of the other tree does not count"
    quick_world.run("UPDATE nodes SET active_version = 2")
    assert finished.wait(5)
    thread.join()
    assert fenced == [Fenced(confirmed=1, exited=0, killed=0, presumed_dead=0)]


def test_a_silent_node_past_its_lease_does_not_block(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fences, "LEASE", timedelta(seconds=0.5))
    Node(quick_world.vault).beat()
    began = time.monotonic()
    quick_world.advance(seconds=LEASE.total_seconds() + 1)
    assert wait_for_nodes(quick_world.vault, Tree.ACTIVE, 99) == Fenced(0, 0, 0, 1)
    assert time.monotonic() - began < 2


def test_a_destruction_waits_out_a_dead_nodes_lease(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = quick_world.file()
    quick_world.advance(days=800)
    monkeypatch.setattr(fences, "LEASE", timedelta(seconds=1))
    Node(quick_world.vault).beat()
    began = time.monotonic()
    assert quick_world.sweep().observed["nodes_confirmed"] == 0
    assert 0.5 < time.monotonic() - began < 5
    quick_world.assert_destroyed(record)


def test_a_walk_through_the_old_tree_delays_the_confirmation(quick_world: World) -> None:
    quick_world.file()
    node = Node(quick_world.vault)
    node.beat()
    done = threading.Event()
    with quick_world.vault.uses.walk():
        quick_world.run(
            "UPDATE trees SET next_version = 9",
            "INSERT INTO roots SELECT tree, 8, epoch, master, wrapped_key, sealed_page FROM roots WHERE tree = 'held'",
            "UPDATE trees SET version = 8 WHERE tree = 'held'",
        )

        def beat() -> None:
            node.beat()
            done.set()

        thread = threading.Thread(target=beat)
        thread.start()
        assert not done.wait(0.2)
        assert quick_world.value("SELECT held_version FROM nodes") == 1
    assert done.wait(5)
    thread.join()
    assert quick_world.value("SELECT held_version FROM nodes") == 8


class Unreadable(Catalogue):
    def read(self) -> None:  # type: ignore[override]
        raise CatalogueError


def test_a_node_without_its_catalogue_stops_serving_when_the_lease_ends(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "LEASE", timedelta(seconds=0.6))
    monkeypatch.setattr(fences, "_RENEW_AFTER", timedelta(seconds=0.2))
    with Node(quick_world.vault) as node:
        time.sleep(0.8)
        assert node.may_serve, "it renews as long as it can"
        with monkeypatch.context() as gone:
            gone.setattr(Catalogue, "read", Unreadable.read)
            until(lambda: not node.may_serve, 3)
        until(lambda: node.may_serve, 3)


def test_a_key_that_arrives_after_the_cut_is_wiped() -> None:
    uses = KeyUses()
    use = uses.begin(RecordId("r"))
    assert uses.cut([RecordId("r")]) == 1
    key = Key.generate()
    with pytest.raises(UseCutError):
        use.take(key)
    assert bytes(key._buffer) == bytes(32)
    with pytest.raises(UseCutError), use.key():
        pass
    assert not uses.records()


def test_a_cut_waits_for_the_step_under_way() -> None:
    uses = KeyUses()
    use = uses.begin(RecordId("r"))
    use.take(Key.generate())
    order: list[str] = []

    def cut() -> None:
        uses.cut([RecordId("r")])
        order.append("cut")

    with use.key() as key:
        thread = threading.Thread(target=cut)
        thread.start()
        time.sleep(0.1)
        key.reveal()
        order.append("step")
    thread.join()
    assert order == ["step", "cut"]


def test_no_key_is_used_without_a_lease(quick_world: World) -> None:
    record = quick_world.file()
    vault = quick_world.vault
    with Node(vault) as node:
        quick_world.assert_readable(record)
        reading = read_document(vault, quick_world.reviewer, record.id, "card.png", PURPOSE)
        pieces = reading.chunks()
        # As if the process had been stopped: no thread of it has noticed anything yet.
        node._lease_ends = steady_seconds() - 1
        with pytest.raises(LeaseOverError), vault.uses.walk():
            pass
        with pytest.raises(BusyError):
            next(pieces)
        with pytest.raises(BusyError):
            read_document(vault, quick_world.reviewer, record.id, "card.png", PURPOSE)
        node._lease_ends = steady_seconds() + 10
        quick_world.assert_readable(record)
    quick_world.assert_readable(record)


def test_uses_are_cut_when_the_lease_ends_though_the_heartbeat_hangs(quick_world: World) -> None:
    record = quick_world.file()
    vault = quick_world.vault
    with Node(vault) as node:
        reading = read_document(vault, quick_world.reviewer, record.id, "card.png", PURPOSE)
        key = reading._use._key
        assert key is not None
        with vault.catalogue.write():
            # A heartbeat that wants to write waits for ten seconds now.
            node._lease_until = vault.clock.now()
            node._lease_ends = steady_seconds() - 1
            until(lambda: reading._use.record_id not in vault.uses.records())
        assert bytes(key._buffer) == bytes(32)


def test_a_node_that_is_replaced_confirms_growth_and_no_new_epoch(quick_world: World) -> None:
    dead = quick_world.open()
    quick_world.upload(dead)
    vault = quick_world.vault
    told: list[frozenset[RecordId]] = []
    node = Node(vault, on_new_epoch=told.append)
    node.beat()
    quick_world.file()
    node.beat()
    assert quick_world.value("SELECT active_version FROM nodes") == version(quick_world)
    assert told == []

    use = vault.uses.begin(dead.id)
    before = version(quick_world)
    quick_world.advance(hours=80)
    node.beat()
    destroying = threading.Thread(target=quick_world.sweep)
    destroying.start()
    until(lambda: version(quick_world) > before)
    node.beat()
    assert told == [frozenset({dead.id})]
    with pytest.raises(UseCutError):
        use.take(Key.generate())
    quick_world.advance(seconds=5)
    node.beat()
    assert told == [frozenset({dead.id})], "it is told once"
    assert quick_world.rows("SELECT active_version FROM nodes") == [(before,)], "and its lease goes on"
    assert destroying.is_alive(), "the fence waits for the process"
    # As if it had ended: no process of this start has that id any more.
    quick_world.run("UPDATE nodes SET started = 1")
    destroying.join(10)
    assert not destroying.is_alive()
    quick_world.assert_destroyed(dead)


def test_a_process_that_is_stopped_is_killed_by_the_fence_and_no_other_is(
    quick_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "LEASE", timedelta(seconds=2))
    node = Node(quick_world.vault)
    node.beat()
    with subprocess.Popen(["/bin/sleep", "600"]) as stopped, subprocess.Popen(["/bin/sleep", "600"]) as other:
        try:
            stopped.send_signal(signal.SIGSTOP)
            started = int(Path(f"/proc/{stopped.pid}/stat").read_text().rpartition(")")[2].split()[19])
            quick_world.run(f"UPDATE nodes SET pid = {stopped.pid}, started = {started}, lease_until = 0")
            assert wait_for_nodes(quick_world.vault, Tree.ACTIVE, 99) == Fenced(0, 0, 1, 0)
            assert stopped.wait(5) == -signal.SIGKILL
            # The id of the dead was given to somebody else: that one is left alone.
            Node(quick_world.vault).beat()
            quick_world.run(f"UPDATE nodes SET pid = {other.pid}, started = 7, lease_until = 0")
            assert wait_for_nodes(quick_world.vault, Tree.ACTIVE, 99) == Fenced(0, 1, 0, 0)
            assert other.poll() is None
            # Elsewhere nobody can look.
            Node(quick_world.vault).beat()
            quick_world.run(f"UPDATE nodes SET pid = {other.pid}, boot = 'elsewhere', lease_until = 0")
            assert wait_for_nodes(quick_world.vault, Tree.ACTIVE, 99) == Fenced(0, 0, 0, 1)
            assert other.poll() is None
        finally:
            stopped.kill()
            other.kill()


def test_a_record_says_what_nobody_saw(quick_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fences, "LEASE", timedelta(seconds=0.5))
    quick_world.file()
    quick_world.advance(days=800)
    Node(quick_world.vault).beat()
    quick_world.run("UPDATE nodes SET boot = 'elsewhere', lease_until = 0")
    cannot = destruction_record(quick_world.sweep())["cannot_prove"]
    assert "1 process" in cannot[0]
    quick_world.file()
    quick_world.advance(days=800)
    assert destruction_record(quick_world.sweep())["cannot_prove"] == cannot[1:]
