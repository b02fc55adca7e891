"""Workers: replaced after a destruction, killed when they are stopped, and nobody is refused meanwhile."""

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fences.service import MIB, Service, eventually, pdf, stop

pytestmark = pytest.mark.long


@contextmanager
def asking(service: Service, record: str) -> Iterator[list[Any]]:
    """Somebody who asks for a document again and again, each time on a new connection; yields what they got."""
    answers: list[Any] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.02):
            try:
                with service.client() as client:
                    answers.append(service.get(client, record).status_code)
            except httpx2.TransportError as error:
                answers.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield answers
    ended.set()
    for thread in threads:
        thread.join()


@contextmanager
def scrubbing(service: Service) -> Iterator["subprocess.Popen[str]"]:
    destroyer = service.operator.start("scrub", service.operator.order_scrub(), "--yes", "--json")
    try:
        yield destroyer
    finally:
        destroyer.kill()
        destroyer.wait()
        assert destroyer.stdout
        destroyer.stdout.close()


def node_rows(service: Service) -> set[int]:
    return {pid for (pid,) in service.rows("SELECT pid FROM nodes WHERE replaced")}


def test_what_is_under_way_ends_well_or_is_cut_and_new_callers_are_served_all_the_time(service: Service) -> None:
    late, silent, answered = pdf(3 * MIB), pdf(3 * MIB), pdf(40_000)
    with service.client() as client:
        doomed = service.file(client, pdf(20 * MIB))
        kept = service.file(client, answered)
        assert (
            service.operator.run("hold", "place", kept, "--kind", "audit", "--authority", "A", "--docket", "1").code
            == 0
        )
        first, second = service.open(client), service.open(client)
        before = service.workers()
        with service.wire() as reader, service.wire() as quick, service.wire() as mute:
            assert reader.begin_get(doomed).startswith(b"HTTP/1.1 200 ")
            quick.begin_put(first, len(late), late[:MIB])
            mute.begin_put(second, len(silent), silent[:MIB])
            with asking(service, kept) as answers, scrubbing(service) as destroyer:
                eventually(lambda: any("is replaced" in line for line in service.lines), "a worker leaves")
                quick.socket.sendall(late[MIB:])
                status, _, _ = quick.answer()
                assert status == 201, "what survives comes to its end"
                assert reader.rest() < 20 * MIB, "what is condemned is cut"
                status, headers, problem = mute.answer()
                assert (status, problem["type"]) == (503, "urn:shredvault:problem:leaving")
                assert "retry-after" in headers
                output, _ = destroyer.communicate(timeout=60)
                service.until_complete()
            assert '"nodes_exited": 3' in output
            assert set(answers) == {200}
            assert len(answers) > 20
        assert not before & service.workers()
        assert service.put(client, second, silent, "late.pdf").status_code == 201
        assert service.get(client, first, "late.pdf").content == late
        assert service.get(client, second, "late.pdf").content == silent
        assert service.get(client, doomed).status_code == 410


@pytest.mark.parametrize("supervised", [True, False])
def test_a_worker_that_is_stopped_through_a_destruction_never_wakes(
    serve: Callable[..., Service], *, supervised: bool
) -> None:
    service = serve(1)
    content = pdf(3 * MIB)
    with service.client() as client, service.wire() as caller:
        doomed, open_one = service.file(client, pdf(50_000)), service.open(client)
        caller.begin_put(open_one, len(content), content[:MIB])
        eventually(lambda: "in_flight 1.0" in client.get("/metrics").text, "the upload is under way")
        (worker,) = service.workers()
        stop(worker)
        if not supervised:
            stop(service.process.pid)
        done = service.operator.run("scrub", service.operator.order_scrub(), "--yes", "--json")
        assert done.code == 0, done.err
        assert done.data["observed"]["nodes_presumed_dead"] == 0
        assert done.data["observed"]["nodes_exited"] + done.data["observed"]["nodes_killed"] == 1
        if not supervised:
            assert done.data["observed"]["nodes_killed"] == 1
            service.process.send_signal(signal.SIGCONT)
        service.until_complete()
        assert worker not in service.workers()
        assert caller.rest() == 0, "it is cut off without an answer"
    with service.client() as client:
        assert service.put(client, open_one, content).status_code == 201
        assert service.get(client, open_one).content == content
        assert service.get(client, doomed).status_code == 410


def test_a_killed_worker_is_replaced_and_a_killed_supervisor_takes_all_along(serve: Callable[..., Service]) -> None:
    service = serve(2)
    content = pdf(50_000)
    with service.client() as client:
        record = service.file(client, content)
    victim = min(service.workers())
    os.kill(victim, signal.SIGKILL)
    with service.client() as client:
        assert service.get(client, record).content == content, "the port stays"
    service.until_complete()
    assert victim not in service.workers()
    eventually(lambda: node_rows(service) == service.workers(), "the dead are off the list")

    children = set(service.children())
    assert len(children) == 3, "two workers and the object store"
    service.process.kill()
    service.process.wait()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "nobody is left")
    again = serve(1)
    with again.client() as client:
        assert again.get(client, record).content == content
    eventually(lambda: node_rows(again) == again.workers(), "the dead are off the list")


def test_a_worker_without_its_lease_uses_no_key_and_recovers(serve: Callable[..., Service]) -> None:
    service = serve(1)
    content = pdf(3 * MIB)
    with service.client() as client, service.wire() as caller:
        record = service.open(client)
        workers = service.workers()
        caller.begin_put(record, len(content), content[:MIB])
        eventually(lambda: "in_flight 1.0" in client.get("/metrics").text, "the upload is under way")
        with closing(sqlite3.connect(service.operator.home / "catalogue.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            eventually(lambda: client.get("/readyz").json()["checks"]["lease"] != "ok", "the lease runs out")
            caller.socket.sendall(content[MIB:])
            status, headers, _ = caller.answer()
            assert status == 503
            assert "retry-after" in headers
            assert service.put(client, record, content).status_code == 503
            other.execute("ROLLBACK")
        eventually(lambda: client.get("/readyz").status_code == 200, "the lease is renewed")
        # A machine that has much else to do may be late with a renewal again.
        eventually(lambda: service.put(client, record, content).status_code in (200, 201), "what was refused is taken")
        eventually(lambda: service.get(client, record).content == content, "what was taken is there")
        assert service.workers() == workers, "it lived, and said so"


def test_a_service_ends_in_order(serve: Callable[..., Service]) -> None:
    service = serve(2)
    children = set(service.children())
    began = time.monotonic()
    service.process.terminate()
    assert service.process.wait(40) == 0
    assert time.monotonic() - began < 30
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert node_rows(service) == set()
