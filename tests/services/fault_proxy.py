"""A TCP proxy on 127.0.0.1 that breaks connections on demand, between a client and a real server."""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Fault:
    """What goes wrong, for all connections together, counted in bytes from the moment it is set.

    `cut_*_after`: that many bytes are passed on in that direction, then the connection ends, and so
    does each later one as soon as it sends in that direction. `blackhole`: connections are
    accepted and nothing is passed on. `pause_s`: before each chunk of an answer. `bytes_per_s`: of answers.
    """

    cut_up_after: int | None = None
    cut_down_after: int | None = None
    blackhole: bool = False
    pause_s: float = 0.0
    bytes_per_s: float | None = None


class FaultProxy:
    """Forwards to `upstream`; `url` is where it listens. Without a fault it is transparent."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._fault = Fault()
        self._passed = {"up": 0, "down": 0}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._start(self._accept, self._listener)

    def set(self, fault: Fault) -> None:
        with self._lock:
            self._fault = fault
            self._passed = {"up": 0, "down": 0}

    def clear(self) -> None:
        self.set(Fault())

    def passed(self, direction: str) -> int:
        """Bytes passed on in `direction` since the fault was set."""
        with self._lock:
            return self._passed[direction]

    def refuse(self) -> None:
        """End every connection and listen no more."""
        # shutdown wakes the accepting thread; close alone would leave it, and the port, where they are
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()

    def accept_again(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept, self._listener)

    def close(self) -> None:
        self.refuse()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive(), "a thread of the proxy hangs"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True, name="fault-proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.upstream)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            self._start(self._connection, client, server)

    def _connection(self, client: socket.socket, server: socket.socket) -> None:
        up = threading.Thread(target=self._pump, args=(client, server, "up"), daemon=True)
        up.start()
        self._pump(server, client, "down")
        up.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                fault = self._fault
                if fault.blackhole:
                    continue
                if direction == "down" and (fault.pause_s or fault.bytes_per_s):
                    time.sleep(fault.pause_s + (len(chunk) / fault.bytes_per_s if fault.bytes_per_s else 0))
                allowed = self._allowed(fault, direction, len(chunk))
                sink.sendall(chunk[:allowed])
                if allowed < len(chunk):
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _allowed(self, fault: Fault, direction: str, count: int) -> int:
        limit = fault.cut_up_after if direction == "up" else fault.cut_down_after
        with self._lock:
            allowed = count if limit is None else max(0, min(count, limit - self._passed[direction]))
            self._passed[direction] += allowed
        return allowed

    def _hang_up(self) -> None:
        with self._lock:
            ends = list(self._open)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
