"""`MemoryS3` as a service: it outlives the process that uses it, as a real store does when that process is killed."""

import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from tests.vault.memory_s3 import MemoryBucket, MemoryS3
from vault.objects.sending import Sending


class Keeper:
    """Answers calls for whichever store it has at the moment, to one process after the other."""

    def __init__(self, folder: Path) -> None:
        self.s3 = MemoryS3()
        self.address = str(folder / "s3")
        self._over = False
        self._listener = Listener(self.address, "AF_UNIX")
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._over = True
        Client(self.address, "AF_UNIX").close()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._over:
            # The end of a connection is the end of a process.
            with self._listener.accept() as connection, suppress(EOFError, ConnectionError):
                while True:
                    self._answer(connection)

    def _answer(self, connection: Connection) -> None:
        name, request = connection.recv()
        try:
            if "Body" in request:
                request["Body"] = io.BytesIO(request["Body"])
            answer = getattr(self, name)(**request) if name == "pages" else getattr(self.s3, name)(**request)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes to whoever called
            connection.send((None, error))
        else:
            connection.send((answer, None))

    def pages(self, operation: str, **request: Any) -> list[dict[str, Any]]:
        return list(self.s3.get_paginator(operation).paginate(**request))


class FarS3:
    """A client; may be shared by threads. `before` is told of each call, with the object's name or an empty string."""

    def __init__(self, address: str, before: Callable[[str, str], None]) -> None:
        self._connection = Client(address, "AF_UNIX")
        self._lock = Lock()
        self._before = before

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        def call(**request: Any) -> dict[str, Any]:
            if "Body" in request:
                request["Body"] = request["Body"].read()
            answer: dict[str, Any] = self._ask(name, request)
            if "Body" in answer:
                answer["Body"] = io.BytesIO(answer["Body"])
            return answer

        return call

    def get_paginator(self, operation: str) -> "_Pages":
        return _Pages(lambda request: self._ask("pages", {"operation": operation, **request}))

    def close(self) -> None:
        """Nothing: a process may open a vault more than once, and the end of the process is the connection's."""

    def hang_up(self) -> None:
        self._connection.close()

    def _ask(self, name: str, request: dict[str, Any]) -> Any:
        with self._lock:
            self._before(name, str(request.get("Key", "")))
            self._connection.send((name, request))
            answer, error = self._connection.recv()
        if error is not None:
            raise error
        return answer


class _Pages:
    def __init__(self, ask: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> None:
        self._ask = ask

    def paginate(self, **request: Any) -> Iterable[dict[str, Any]]:
        return self._ask(request)


class FarBucket(MemoryBucket):
    """The real bucket logic over `FarS3`."""

    def __init__(self, s3: FarS3) -> None:
        self._name = "far"
        self._region = "us-east-1"
        self._s3 = self._s3_once = s3
        self._send = Sending()
