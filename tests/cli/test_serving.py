import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.forked import REPOSITORY
from tests.cli.operator import SCAN, Operator
from tests.people import written_policy

Running = Callable[..., subprocess.Popen[str]]


def address_of(service: subprocess.Popen[str]) -> str:
    """Read until the service says where it listens."""
    assert service.stdout
    for line in service.stdout:
        if found := re.search(r"listening on 127\.0\.0\.1 port (\d+)", line):
            return f"http://127.0.0.1:{found.group(1)}"
    message = "the service ended before it listened"
    raise AssertionError(message)


def children(folder: Path) -> list[str]:
    """Processes whose command line names this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


def file_and_read_as_the_readme_says(folder: Path, address: str, token: str, reviewer: str) -> None:
    """The commands of README.md's examples, typed one after the other by people who have a token each and a scan."""
    page = (REPOSITORY / "README.md").read_text("utf-8").replace("localhost:8080", address)
    block, reading = re.findall(r"```sh\n(curl .+?)```", page, re.DOTALL)
    opening, filing = block.split("ID=…   # the record_id\n")
    scan = (REPOSITORY / "tests" / "specimens" / "passport-1.jpg").read_bytes()
    (folder / "passport.jpg").write_bytes(scan)

    def typed(lines: str, **more: str) -> list[dict[str, Any]]:
        tokens = {"TOKEN": token, "REVIEWER": reviewer}
        variables = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **tokens, **more}
        done = subprocess.run(
            ["bash", "-ec", lines], env=variables, cwd=folder, check=True, capture_output=True, text=True
        )
        return [json.loads(answer) for answer in re.findall(r"\{[^{}]*\}", done.stdout)]

    (opened,) = typed(opening)
    assert set(opened) == {"record_id", "receipt"}
    stored, completed = typed(filing, ID=opened["record_id"])
    assert stored["media_type"] == "image/jpeg"
    assert (completed["record_id"], completed["documents"]) == (opened["record_id"], 1)
    (folder / "passport.jpg").unlink()
    assert typed(reading, ID=opened["record_id"])
    assert (folder / "passport.jpg").read_bytes() == scan


def test_one_service_for_each_vault_and_everything_else_works_meanwhile(newcomer: Operator, running: Running) -> None:
    assert newcomer.run("init", *written_policy(newcomer.folder)).code == 0
    due = newcomer.file(2)
    service = running("serve", "--port", "0")
    address = address_of(service)
    token = newcomer.run("access", "create", "--role", "center", "--label", "Queens", "--json").data["token"]
    reviewer = newcomer.run("access", "create", "--role", "reviewer", "--label", "Albany", "--json").data["token"]

    second = newcomer.run("serve", "--port", "0")
    assert second.code == 5
    assert second.err.strip() == (
        f"A `shredvault serve` runs on the vault in {newcomer.home} already; end that one first."
    )

    file_and_read_as_the_readme_says(newcomer.folder, address, token, reviewer)
    with httpx2.Client(base_url=address, trust_env=False) as client:
        center = {"Authorization": f"Bearer {token}"}
        applicant = {"applicant": {"given_name": "Ada", "family_name": "Aster"}}
        opened = client.post(
            "/v1/records", json=applicant, headers=center | {"Idempotency-Key": "0b6c7c1e-5a56-4a53-9d0c-2f6b8a1f8d0e"}
        )
        assert opened.status_code == 201
        path = f"/v1/records/{opened.json()['record_id']}"
        assert client.put(f"{path}/documents/a.png", content=SCAN, headers=center).status_code == 201
        assert client.post(f"{path}/complete", headers=center).is_success
        reading = {"Authorization": f"Bearer {reviewer}", "Purpose": "audit"}
        gone = f"/v1/records/{due[0]}/documents/a.png"
        assert client.get(gone, headers=reading).content == SCAN
        held = newcomer.run("hold", "place", due[1], "--kind", "audit", "--authority", "A", "--docket", "1")
        assert held.code == 0

        swept = newcomer.run("sweep", "--json")

        assert swept.data["counts"]["records_destroyed"] == 1
        assert swept.data["observed"]["nodes_confirmed"] >= 1
        assert client.get(gone, headers=reading).status_code == 410
        assert client.get(f"/v1/records/{due[1]}/documents/a.png", headers=reading).content == SCAN
        assert client.get(f"{path}/documents/a.png", headers=reading).content == SCAN

    service.send_signal(signal.SIGTERM)
    assert service.wait(40) == 0
    assert not children(newcomer.folder / "objects")


def test_a_taken_port_is_one_sentence(operator: Operator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = operator.run("serve", "--port", str(port))
    assert refused.code == 5
    assert refused.err.startswith(f"Port {port} on 127.0.0.1 cannot be had")
    assert refused.err.count("\n") == 1


@pytest.mark.long
def test_the_demo_tells_the_truth_and_leaves_only_its_records(newcomer: Operator, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    told = newcomer.run("demo", "--json", "--keep", str(tmp_path / "kept"), TMPDIR=str(temporary))

    assert told.code == 0, told.err
    assert set(told.data) == {"claims", "destruction_records"}
    assert len(told.data["claims"]) == 10
    assert all(claim["true"] for claim in told.data["claims"])
    counts = [
        json.loads(Path(path).read_text())["counts"]["records_destroyed"] for path in told.data["destruction_records"]
    ]
    assert counts == [4, 6]
    assert list(temporary.iterdir()) == []
    assert not children(temporary)


def test_an_interrupted_demo_leaves_nothing(newcomer: Operator, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = newcomer.environment | {"TMPDIR": str(temporary)}
    demo = Operator(newcomer.folder, environment, newcomer.forker).start("demo")
    assert demo.stdout
    with demo.stdout as lines:
        for line in lines:
            if "READ." in line:
                demo.send_signal(signal.SIGTERM)
                break
        lines.read()
    assert demo.wait(40) == 130
    assert list(temporary.iterdir()) == []
    assert not children(temporary)
