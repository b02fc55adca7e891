"""The embedded object store: who may speak to it, how it lives and dies, and what is left on the disk."""

import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from tests.services.object_stores import ACCESS_KEY, SECRET_KEY, settings
from vault.host.embedded_store import EmbeddedStore, EmbeddedStoreError, flush, share
from vault.objects import Bucket, ObjectStoreDenied, ObjectStoreUnavailable

FRESH_STORE_BYTES_MAX = 1024 * 1024


def listeners(pid: int) -> set[tuple[str, int]]:
    """Addresses on which the process listens, read from /proc."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(descriptor.readlink().name)
        except OSError:
            continue
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                host, port = fields[1].split(":")
                raw = b"".join(bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8))
                found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def bucket(seaweedfs: str) -> Iterator[Bucket]:
    bucket = Bucket(settings(seaweedfs))
    bucket.ensure()
    yield bucket
    bucket.close()


def test_anonymous_requests_are_refused(seaweedfs: str, bucket: Bucket) -> None:
    bucket.put("documents/a", b"sealed")
    address = urlsplit(seaweedfs)
    for method, path in (
        ("GET", "/"),
        ("GET", f"/{bucket._name}"),
        ("GET", f"/{bucket._name}/documents/a"),
        ("PUT", f"/{bucket._name}/documents/a"),
        ("DELETE", f"/{bucket._name}/documents/a"),
        ("PUT", "/new-bucket"),
    ):
        connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=5)
        connection.request(method, path, body=b"" if method == "PUT" else None)
        assert connection.getresponse().status == 403
        connection.close()
    assert bucket.get("documents/a", limit=10) == b"sealed"


def test_only_this_machine_and_only_through_s3(
    seaweedfs: str, own_store: Callable[[], EmbeddedStore], tmp_path: Path
) -> None:
    store = own_store()
    endpoint = store.start()
    assert endpoint != seaweedfs, "several stores run on one machine"
    assert store.pid
    found = listeners(store.pid)
    assert ("127.0.0.1", urlsplit(endpoint).port) in found
    assert {host for host, _ in found} == {"127.0.0.1"}

    bucket = Bucket(settings(endpoint))
    bucket.ensure()
    bucket.put("documents/a", b"sealed")
    for method in ("GET", "PUT", "DELETE"):
        connection = http.client.HTTPConnection("127.0.0.1", store._ports["filer"], timeout=5)
        connection.request(method, f"/buckets/{bucket._name}/documents/a")
        answer = connection.getresponse()
        assert answer.status == 401
        assert b"sealed" not in answer.read()
        connection.close()
    assert bucket.get("documents/a", limit=10) == b"sealed"
    bucket.close()

    store.stop()
    store.stop()
    assert store.pid is None
    directory = tmp_path / "store"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sum(path.stat().st_blocks * 512 for path in directory.rglob("*")) < FRESH_STORE_BYTES_MAX
    for path in directory.rglob("*"):
        if path.is_file():
            assert SECRET_KEY.get_secret_value().encode() not in path.read_bytes()


def test_data_survive_a_restart_and_a_change_of_keys(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    with EmbeddedStore(directory, ACCESS_KEY, SECRET_KEY) as store:
        old = settings(_endpoint(directory))
        bucket = Bucket(old)
        bucket.ensure()
        bucket.put("documents/a", b"sealed")
        store.flush()
        bucket.close()
    assert store.pid is None
    fresh_key = SecretStr("another-secret-of-ours")
    with EmbeddedStore(directory, ACCESS_KEY, fresh_key) as store:
        bucket = Bucket(replace(old, endpoint_url=_endpoint(directory), secret_key=fresh_key))
        assert bucket.get("documents/a", limit=10) == b"sealed"
        bucket.put("documents/b", b"more")
        bucket.close()
        outdated = Bucket(replace(old, endpoint_url=_endpoint(directory)))
        with pytest.raises(ObjectStoreDenied):
            outdated.get("documents/a", limit=10)
        outdated.close()
        sockets = [Path(f"/tmp/seaweedfs-{n}-grpc-{p + 10_000}.sock") for n, p in store._ports.items()]
    assert not any(path.exists() for path in sockets)


def _endpoint(directory: Path) -> str:
    return (directory / "endpoint").read_text()


def test_a_second_process_shares_and_a_second_server_is_not_started(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    with share(directory, ACCESS_KEY, SECRET_KEY) as first:
        with pytest.raises(EmbeddedStoreError, match="Another process"):
            EmbeddedStore(directory, ACCESS_KEY, SECRET_KEY).start()
        with share(directory, ACCESS_KEY, SECRET_KEY) as second:
            assert second == first
            bucket = Bucket(replace(settings(second), attempts=1))
            bucket.ensure()
            flush(directory)
        bucket.check()  # the borrower's leaving does not end it
        with (
            pytest.raises(EmbeddedStoreError, match="other credentials"),
            share(directory, ACCESS_KEY, SecretStr("wrong")),
        ):
            pass
    with pytest.raises(ObjectStoreUnavailable):
        bucket.check()
    bucket.close()
    with share(directory, ACCESS_KEY, SECRET_KEY) as again:
        assert again


OWNER = """
import sys, threading, time
from pathlib import Path
from pydantic import SecretStr
from vault.host.embedded_store import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]), "a", SecretStr("b" * 20))
starter = threading.Thread(target=store.start)
starter.start()
starter.join()
time.sleep(0.3)
print(store.pid, flush=True)
time.sleep(60)
"""


def test_the_server_dies_with_its_parent_and_not_with_the_thread_that_started_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        assert is_alive(pid), "the starting thread is gone, the server is not"
        assert os.getpgid(pid) == pid != os.getpgid(owner.pid), "Ctrl-C reaches the parent only"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        wait_until(lambda: not is_alive(pid))
    base = int(next((tmp_path / "store").glob("m[0-9]*")).name[1:])
    left = Path(f"/tmp/seaweedfs-master-grpc-{base + 10_000}.sock")
    assert left.exists()
    # and the lock is free again, and the next start cleans up
    with share(tmp_path / "store", "a", SecretStr("b" * 20)) as endpoint:
        assert endpoint
    assert not left.exists()


def test_a_missing_binary_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.host.embedded_store.shutil.which", lambda *_args, **_more: None)
    with pytest.raises(EmbeddedStoreError, match="binary is missing"):
        EmbeddedStore(tmp_path / "store", ACCESS_KEY, SECRET_KEY).start()
    assert not (tmp_path / "store").exists()
