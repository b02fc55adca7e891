"""The container image's recipe: linted, and what matters in it looked at. Docker itself is not needed."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
RECIPE: Final = ROOT / "infra" / "container" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its argument, lines put together, comments left out."""
    text = re.sub(r"^#.*\n", "", RECIPE.read_text("utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines if line]


def of(kind: str) -> list[str]:
    return [argument for instruction, argument in instructions() if instruction == kind]


def test_the_linter_finds_nothing() -> None:
    seen = subprocess.run(["hadolint", "--no-color", RECIPE], check=False, capture_output=True, text=True)
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, "", "")


def test_it_ends_as_a_user_without_rights() -> None:
    last = instructions()[max(n for n, (kind, _) in enumerate(instructions()) if kind == "FROM") :]
    assert [argument for kind, argument in last if kind == "USER"] == ["10001:10001"]
    assert json.loads(of("VOLUME")[0]) == ["/var/lib/shredvault", "/var/lib/shredvault-keys"]


def test_the_service_is_process_one_and_hears_signals() -> None:
    assert json.loads(of("ENTRYPOINT")[0]) + json.loads(of("CMD")[0]) == ["shredvault", "serve"]


def test_images_are_named_without_a_registry() -> None:
    assert [name.partition(" ")[0] for name in of("FROM")] == ["python:3.11-slim"] * 2


def test_packages_come_by_their_hashes_only() -> None:
    fetched, *offline = [line for line in of("RUN") if "pip " in line]
    assert "--require-hashes" in fetched
    assert len(offline) == 2
    assert all("--no-index" in line for line in offline)


def test_only_what_is_needed_is_sent_to_the_builder() -> None:
    sources = {name for line in of("COPY") if not line.startswith("--from") for name in line.split()[:-1]}
    everything, *kept = [
        line
        for line in RECIPE.with_suffix(".dockerignore").read_text("utf-8").splitlines()
        if line and not line.startswith(("#", "**"))
    ]
    assert everything == "*"
    assert {line.removeprefix("!") for line in kept} == sources
    assert all((ROOT / name).exists() for name in sources)


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_health(status: int, *, healthy: bool) -> None:
    command = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
    handler = type("Answering", (Health,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            seen = subprocess.run(
                [sys.executable, *command[1:]],
                env=os.environ | {"SHREDVAULT_PORT": str(server.server_port)},
                check=False,
                capture_output=True,
            )
        finally:
            server.shutdown()
    assert (seen.returncode == 0) is healthy
