"""The object store while its server fails: a TCP proxy before a real server. Nothing is mocked."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.services.fault_proxy import Fault, FaultProxy
from tests.services.object_stores import ObjectStore, settings
from vault.host.embedded_store import EmbeddedStore
from vault.objects import (
    PART_BYTES_MIN,
    Bucket,
    ObjectNotFound,
    ObjectStoreUnavailable,
)

MIB = 1024 * 1024
READ_TIMEOUT_S = 1.0  # longer than an honest answer takes while other tests use the machine
SLACK_S = 10.0
INTERIM_ANSWER_BYTES = len(b"HTTP/1.1 100 Continue\r\n\r\n")  # asks for the body; the true answer comes after it


@pytest.fixture
def honest(real_store: ObjectStore) -> Bucket:
    """The bucket, by the straight way."""
    bucket = real_store.bucket()
    bucket.ensure()
    return bucket


@pytest.fixture
def shaky(honest: Bucket, real_store: ObjectStore, proxy: FaultProxy) -> Bucket:
    """The same bucket through the proxy, with short timeouts and no second try."""
    patient = real_store.bucket(endpoint_url=proxy.url)
    patient.put("documents/first", b"the honest case works")
    assert patient.get("documents/first", limit=100) == b"the honest case works"
    assert list(honest.names("")) == ["documents/first"]
    return real_store.bucket(endpoint_url=proxy.url, read_timeout_s=READ_TIMEOUT_S, attempts=1)


def test_a_server_that_is_gone(shaky: Bucket, proxy: FaultProxy) -> None:
    proxy.refuse()
    for call in (
        shaky.check,
        shaky.ensure,
        lambda: shaky.put("documents/a", b"x"),
        lambda: shaky.put("documents/a", b"x", if_absent=True),
        lambda: shaky.get("documents/first", limit=100),
        lambda: shaky.size("documents/first"),
        lambda: shaky.start_parts("documents/a"),
        lambda: list(shaky.names("")),
        lambda: list(shaky.versions("")),
        lambda: shaky.delete_every_version(["documents/first"]),
        lambda: shaky.abort_unfinished("", older_than=None),
    ):
        with pytest.raises(ObjectStoreUnavailable) as failure:
            call()
        assert failure.value.__cause__ is not None
    proxy.accept_again()
    assert shaky.get("documents/first", limit=100) == b"the honest case works"


def test_gone_in_the_middle_of_a_put(shaky: Bucket, honest: Bucket, proxy: FaultProxy) -> None:
    proxy.set(Fault(cut_up_after=3 * MIB))
    with pytest.raises(ObjectStoreUnavailable):
        shaky.put("documents/a", secrets.token_bytes(8 * MIB))
    assert proxy.passed("up") == 3 * MIB, "it broke in the middle"
    assert list(honest.names("")) == ["documents/first"]
    proxy.clear()
    shaky.put("documents/a", b"second try")
    assert honest.get("documents/a", limit=100) == b"second try"


def test_an_answer_lost_after_a_conditional_create(shaky: Bucket, honest: Bucket, proxy: FaultProxy) -> None:
    proxy.set(Fault(cut_down_after=INTERIM_ANSWER_BYTES))
    with pytest.raises(ObjectStoreUnavailable):
        shaky.put("documents/a", b"mine", if_absent=True)
    deadline = time.monotonic() + SLACK_S
    while "documents/a" not in set(honest.names("")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert honest.get("documents/a", limit=100) == b"mine", "unavailable may mean written"


def test_a_conditional_create_is_not_tried_again(honest: Bucket, real_store: ObjectStore, proxy: FaultProxy) -> None:
    persistent = real_store.bucket(endpoint_url=proxy.url, attempts=3)
    persistent.check()
    proxy.set(Fault(cut_down_after=INTERIM_ANSWER_BYTES))
    # a second try would meet the object of the first one and say ObjectExists
    with pytest.raises(ObjectStoreUnavailable):
        persistent.put("documents/a", b"mine", if_absent=True)
    proxy.clear()
    honest.check()


@pytest.mark.parametrize("after", [5000, 1 * MIB, 4 * MIB])
def test_gone_in_the_middle_of_a_get(shaky: Bucket, honest: Bucket, proxy: FaultProxy, after: int) -> None:
    content = secrets.token_bytes(6 * MIB)
    honest.put("documents/a", content)
    assert shaky.get("documents/a", limit=6 * MIB) == content
    proxy.set(Fault(cut_down_after=after))
    with pytest.raises(ObjectStoreUnavailable):
        shaky.get("documents/a", limit=6 * MIB)
    assert proxy.passed("down") == after
    proxy.set(Fault(cut_down_after=after))
    buffer, got = memoryview(bytearray(100_000)), 0
    with pytest.raises(ObjectStoreUnavailable), shaky.open("documents/a") as reader:  # noqa: PT012
        while count := reader.read_into(buffer):
            assert buffer[:count] == content[got : got + count]
            got += count
        pytest.fail("a short body looked whole")
    assert got < after
    proxy.clear()
    assert shaky.get("documents/a", limit=6 * MIB) == content


def test_gone_during_a_parted_upload(shaky: Bucket, honest: Bucket, proxy: FaultProxy) -> None:
    with pytest.raises(ObjectStoreUnavailable), shaky.start_parts("documents/a") as upload:  # noqa: PT012
        upload.add(bytes(PART_BYTES_MIN))
        proxy.set(Fault(cut_up_after=MIB))
        upload.add(bytes(PART_BYTES_MIN))
    # the abort could not get through either, and did not hide the first failure
    assert [u.name for u in honest.unfinished("")] == ["documents/a"]
    assert list(honest.names("")) == ["documents/first"]
    assert honest.abort_unfinished("documents/", older_than=None) == 1
    proxy.clear()
    with shaky.start_parts("documents/a") as upload:
        upload.add(b"again")
        upload.complete()
    assert honest.get("documents/a", limit=10) == b"again"


def test_a_lost_answer_to_complete(shaky: Bucket, honest: Bucket, proxy: FaultProxy) -> None:
    upload = shaky.start_parts("documents/a")
    upload.add(b"content")
    proxy.set(Fault(cut_down_after=0))
    with pytest.raises(ObjectStoreUnavailable):
        upload.complete()
    proxy.clear()
    upload.abort()
    assert list(honest.unfinished("")) == []
    assert honest.delete_every_version(["documents/a"]) in {0, 1}
    with pytest.raises(ObjectNotFound):
        honest.size("documents/a")


@pytest.mark.parametrize("fault", [Fault(blackhole=True), Fault(pause_s=4.0)], ids=["blackhole", "slow"])
def test_a_server_too_slow_to_wait_for(shaky: Bucket, honest: Bucket, proxy: FaultProxy, fault: Fault) -> None:
    honest.put("documents/a", bytes(4 * MIB))
    for call in (
        lambda: shaky.put("documents/b", bytes(100)),
        lambda: shaky.get("documents/a", limit=4 * MIB),
    ):
        proxy.set(fault)
        begun = time.monotonic()
        with pytest.raises(ObjectStoreUnavailable):
            call()
        took = time.monotonic() - begun
        assert READ_TIMEOUT_S * 0.9 < took < READ_TIMEOUT_S + SLACK_S, "put: a second for the 100-continue comes on top"


def test_the_number_of_tries_bounds_the_time(honest: Bucket, real_store: ObjectStore, proxy: FaultProxy) -> None:
    honest.check()
    patient = real_store.bucket(endpoint_url=proxy.url, read_timeout_s=READ_TIMEOUT_S, attempts=2)
    patient.check()
    proxy.set(Fault(blackhole=True))
    begun = time.monotonic()
    with pytest.raises(ObjectStoreUnavailable):
        patient.size("documents/a")
    took = time.monotonic() - begun
    assert 2 * READ_TIMEOUT_S < took < 2 * READ_TIMEOUT_S + SLACK_S, "two waits and a pause between them"


def test_a_slow_server_that_keeps_sending_is_waited_for(shaky: Bucket, honest: Bucket, proxy: FaultProxy) -> None:
    content = secrets.token_bytes(MIB)
    honest.put("documents/a", content)
    proxy.set(Fault(bytes_per_s=0.7 * MIB))
    begun = time.monotonic()
    assert shaky.get("documents/a", limit=MIB) == content
    assert time.monotonic() - begun > READ_TIMEOUT_S, "slower than the timeout, and never silent"


def test_a_deletion_that_breaks_off_is_finished_by_the_next(shaky: Bucket, honest: Bucket, proxy: FaultProxy) -> None:
    names = [f"documents/{n}" for n in range(5)]
    for name in names:
        honest.put(name, b"x")
    proxy.set(Fault(cut_down_after=2500))
    with pytest.raises(ObjectStoreUnavailable):
        shaky.delete_every_version(names)
    proxy.clear()
    shaky.delete_every_version(names)
    assert list(honest.names("")) == ["documents/first"]
    assert [v.name for v in honest.versions("")] == ["documents/first"]


def test_what_was_acknowledged_outlives_a_kill(own_store: Callable[[], EmbeddedStore]) -> None:
    store = own_store()
    endpoint = store.start()
    bucket = Bucket(replace(settings(endpoint), attempts=1))
    bucket.ensure()
    acknowledged: dict[str, bytes] = {}

    def write_until_it_fails() -> None:
        for n in range(10_000):
            content = secrets.token_bytes(20_000)
            name = f"documents/{threading.get_ident()}-{n}"
            try:
                bucket.put(name, content)
            except ObjectStoreUnavailable:
                return
            acknowledged[name] = content

    writers = [threading.Thread(target=write_until_it_fails) for _ in range(2)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 40:
        time.sleep(0.01)
    assert store.pid
    os.kill(store.pid, signal.SIGKILL)
    for writer in writers:
        writer.join(20)
        assert not writer.is_alive()
    with pytest.raises(ObjectStoreUnavailable):
        bucket.check()
    bucket.close()
    store.stop()

    again = Bucket(replace(settings(own_store().start()), bucket=bucket._name))
    for name, content in acknowledged.items():
        assert again.get(name, limit=len(content)) == content
    again.put("documents/after", b"and it takes more")
    assert set(acknowledged) | {"documents/after"} <= set(again.names(""))
    again.close()
