"""The systemd units: well formed, hardened alike, and under two users of whom neither can be the other."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from keystore.custodians import openbao, pkcs11

UNITS: Final = Path(__file__).parents[2] / "infra" / "systemd"
SERVICES: Final = ("shredvault.service", "shredvault-sweep.service")
COMMAND: Final = "/opt/shredvault/bin/shredvault"
EXPOSURE_MAX: Final = "20"
"""Of `systemd-analyze security`, in tenths: 0 is shut in, 100 is free."""

HARDENED: Final = {
    "LimitCORE": ["0"],
    "LimitMEMLOCK": ["infinity"],
    "MemorySwapMax": ["0"],
    "UMask": ["0077"],
    "NoNewPrivileges": ["yes"],
    "CapabilityBoundingSet": [""],
    "AmbientCapabilities": [""],
    "KeyringMode": ["private"],
    "LockPersonality": ["yes"],
    "MemoryDenyWriteExecute": ["yes"],
    "PrivateDevices": ["yes"],
    "PrivateTmp": ["yes"],
    "ProcSubset": ["pid"],
    "ProtectClock": ["yes"],
    "ProtectControlGroups": ["yes"],
    "ProtectHome": ["yes"],
    "ProtectHostname": ["yes"],
    "ProtectKernelLogs": ["yes"],
    "ProtectKernelModules": ["yes"],
    "ProtectKernelTunables": ["yes"],
    "ProtectProc": ["invisible"],
    "ProtectSystem": ["strict"],
    "RemoveIPC": ["yes"],
    "RestrictAddressFamilies": ["AF_UNIX AF_INET AF_INET6"],
    "RestrictNamespaces": ["yes"],
    "RestrictRealtime": ["yes"],
    "RestrictSUIDSGID": ["yes"],
    "SystemCallArchitectures": ["native"],
    "SystemCallErrorNumber": ["EPERM"],
    "SystemCallFilter": ["@system-service", "~@privileged"],
}
WORK: Final = {
    "Unit": {"Description", "Documentation", "Wants", "After", "OnFailure"},
    "Service": {
        *("Type", "User", "StateDirectory", "StateDirectoryMode", "Environment", "LoadCredential", "ExecStartPre"),
        *("ExecStart", "ExecStartPost", "TimeoutStartSec", "KillMode", "Restart", "RestartSec", "DynamicUser"),
    },
    "Timer": {"OnCalendar", "Persistent", "AccuracySec"},
    "Install": {"WantedBy"},
}

Unit = dict[str, dict[str, list[str]]]


def read(name: str) -> Unit:
    """A unit file as sections of settings. Strict: systemd itself ignores what it does not know."""
    unit: Unit = {}
    section = ""
    for line in (UNITS / name).read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = head[1]
            assert section not in unit
            unit[section] = {}
        else:
            setting, equals, value = line.partition("=")
            assert equals, line
            unit[section].setdefault(setting, []).append(value)
    return unit


@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.iterdir() if path.suffix != ".conf"))
def test_every_setting_is_one_we_know(name: str) -> None:
    for section, settings in read(name).items():
        assert set(settings) - set(HARDENED) <= WORK[section]
        assert all(len(values) == 1 for setting, values in settings.items() if setting not in HARDENED)


@pytest.mark.parametrize("name", SERVICES)
def test_both_services_are_shut_in(name: str) -> None:
    service = read(name)["Service"]
    assert {setting: service[setting] for setting in HARDENED} == HARDENED
    assert read(name)["Unit"]["OnFailure"] == ["shredvault-alarm@%N.service"]


def test_who_reads_documents_is_not_who_destroys_keys() -> None:
    serve, sweep = (read(name)["Service"] for name in SERVICES)
    assert (serve["User"], sweep["User"]) == (["shredvault-api"], ["shredvault-destroyer"])
    for setting in ("StateDirectory", "Environment", "LoadCredential"):
        assert serve[setting] != sweep[setting]

    users = dict(re.findall(r'^u (\S+) +- +".*" +(\S+)$', (UNITS / "sysusers.conf").read_text("utf-8"), re.MULTILINE))
    assert users == {
        "shredvault-api": "/var/lib/shredvault/api",
        "shredvault-destroyer": "/var/lib/shredvault/destroyer",
    }
    folders = re.findall(
        r"^d (\S+) +(\d+) (\S+) +(\S+) +-$", (UNITS / "tmpfiles.conf").read_text("utf-8"), re.MULTILINE
    )
    owned = {path: (mode, user, group) for path, mode, user, group in folders}
    for user, home in users.items():
        assert owned[home] == owned[f"{home}/home"] == ("0700", user, user)
        assert owned[f"/etc/shredvault/{Path(home).name}"] == ("0700", "root", "root")
    assert len(owned) == 8


def test_no_secret_stands_in_a_unit() -> None:
    """Units are open to every user of the machine; secrets come as credentials, from folders that root alone reads."""
    for name in SERVICES:
        service = read(name)["Service"]
        handed, _, folder = service["LoadCredential"][0].partition(":")
        assert folder.startswith("/etc/shredvault/")
        # Of a folder, systemd calls each file by both names.
        assert (f"{handed}_pin", f"{handed}_token") == (pkcs11._CREDENTIAL, openbao._CREDENTIAL)
        assert all(value.startswith("SHREDVAULT_HOME=") for value in service["Environment"])


def test_a_night_ends_with_a_look_at_what_is_left() -> None:
    sweep = read("shredvault-sweep.service")["Service"]
    said = [sweep[step][0].removeprefix(COMMAND).split() for step in ("ExecStartPre", "ExecStart", "ExecStartPost")]
    assert said == [["recover", "--json"], ["sweep", "--json"], ["status", "--check"]]
    assert read("shredvault-sweep.timer")["Timer"]["Persistent"] == ["yes"]


# --- what systemd itself says -----------------------------------------------------------------------------

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units in a folder, with a command that exists: systemd looks."""
    command = tmp_path / "shredvault"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace(COMMAND, str(command)))
    return tmp_path


def analyzed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], check=False, capture_output=True, text=True)


@needs_systemd
def test_systemd_has_nothing_to_say(installed: Path) -> None:
    units = [*installed.glob("*.service"), *installed.glob("*.timer")]
    assert len(units) == 4
    seen = analyzed("verify", *units)
    assert (seen.returncode, seen.stderr) == (0, "")

    (installed / "shredvault.service").write_text("[Service]\nExecStart=/bin/true\nNoNewPrivilege=yes\n")
    assert "NoNewPrivilege" in analyzed("verify", installed / "shredvault.service").stderr


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_finds_little_exposed(installed: Path, name: str) -> None:
    seen = analyzed("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", installed / name)
    assert seen.returncode == 0, seen.stdout

    unit = installed / name
    unit.write_text(unit.read_text().replace("CapabilityBoundingSet=\n", "").replace("ProtectSystem=strict\n", ""))
    assert analyzed("security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit).returncode != 0


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_the_two_users_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", "-"],
        input=(UNITS / "sysusers.conf").read_bytes(),
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    made = [line.split(":") for line in (tmp_path / "etc" / "passwd").read_text().splitlines()]
    users = {name: (uid, shell) for name, _, uid, _, _, _, shell in made}
    assert set(users) == {"shredvault-api", "shredvault-destroyer"}
    assert len({uid for uid, _ in users.values()}) == 2
    assert all(shell.endswith("nologin") for _, shell in users.values())
