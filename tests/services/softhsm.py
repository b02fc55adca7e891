"""SoftHSM tokens for tests: one configuration for the session, as many tokens in it as tests ask for.

SoftHSM reads SOFTHSM2_CONF when a process first initialises it, so there is one configuration for the whole
session. New tokens are made by other processes, and seen once the module is initialised again.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so").resolve()
SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so")


@dataclass(frozen=True)
class SoftToken:
    """A token of its own, with its PIN in a file."""

    label: str
    serial: str
    pin: str
    pin_file: Path
    folder: Path
    """Where SoftHSM keeps its objects: what an adversary would copy."""

    @property
    def uri(self) -> str:
        return f"pkcs11:token={self.label};serial={self.serial}?module-path={MODULE}&pin-source=file:{self.pin_file}"

    def tool(self, *arguments: str, ok: bool = True) -> str:
        """OpenSC's pkcs11-tool, logged in; the PIN goes by the environment."""
        # SoftHSM makes a slot's number from the end of the serial.
        slot = str(int(self.serial[-8:], 16) & 0x7FFFFFFF)
        command = ["pkcs11-tool", "--module", str(MODULE), "--slot", slot, "--login", "--pin", "env:PIN"]
        done = subprocess.run(
            [*command, *arguments], env=os.environ | {"PIN": self.pin}, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout

    def copy_to(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder)

    def put_back(self, folder: Path) -> None:
        """Put a copy of the token's files in the place of what is there now."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(folder, self.folder)


@dataclass(frozen=True)
class SoftHsm:
    """A SoftHSM of this session."""

    folder: Path

    def make_token(self, label: str | None = None) -> SoftToken:
        label = label or f"t{secrets.token_hex(6)}"
        pin, so_pin = secrets.token_hex(6), secrets.token_hex(6)
        before = set(self.tokens.iterdir())
        # Asked for on the terminal otherwise; a process's arguments are no place for anything but a test's PIN.
        done = subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", so_pin],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "initialized" in done.stdout
        (folder,) = set(self.tokens.iterdir()) - before
        pin_file = self.folder / f"{secrets.token_hex(6)}.pin"
        pin_file.touch(mode=0o600)
        pin_file.write_text(pin + "\n", "ascii")
        # SoftHSM calls the folder by the serial, in the form of a UUID.
        return SoftToken(label, folder.name.replace("-", "")[-16:], pin, pin_file, folder)

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"


@contextmanager
def soft_hsm(folder: Path) -> Iterator[SoftHsm]:
    """SoftHSM, as this process and all that it starts see it; its tokens are in `folder`."""
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", "utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        yield SoftHsm(folder)


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    """The SoftHSM of the session."""
    with soft_hsm(tmp_path_factory.mktemp("softhsm")) as made:
        yield made


@pytest.fixture
def soft_token(softhsm: SoftHsm) -> SoftToken:
    return softhsm.make_token()
