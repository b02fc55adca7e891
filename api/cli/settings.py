"""Settings: options of the command, then the environment (SHREDVAULT_…), then defaults.

Read when a command runs, never at import. Secrets come from the environment or from a file that only its
owner can read, and never from an option, where every user of the machine would see them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vault.home import EMBEDDED

from .exits import CommandError, ExitCode

__all__ = ["HomeOption", "JsonOption", "Settings", "load_settings"]

_DEFAULT_HOME: Final = Path(".local/share/shredvault/home")
_PORT_LIMIT: Final = 65_535
_WORKERS_LIMIT: Final = 64
_CREDENTIALS_BYTES_MAX: Final = 4096
_OTHERS: Final = 0o077

HomeOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The vault's home. [dim]Default ~/.local/share/shredvault/home; SHREDVAULT_HOME.[/dim]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys, for scripts.")]


class Settings(BaseSettings):
    """What can be set. Each field is also a variable: SHREDVAULT_ and its name."""

    model_config = SettingsConfigDict(
        env_prefix="SHREDVAULT_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    home: Path = Field(default_factory=lambda: Path.home() / _DEFAULT_HOME)
    objects: str = EMBEDDED
    objects_folder: Path | None = None
    bucket: str = "shredvault"
    region: str = "us-east-1"
    custodian: str | None = None
    database: str | None = None
    time_zone: str = "America/New_York"
    retention_months: int = 24
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None
    s3_credentials_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=_PORT_LIMIT)
    workers: int = Field(default=1, ge=1, le=_WORKERS_LIMIT)

    @property
    def home_folder(self) -> Path:
        """The home, absolute."""
        return self.home.expanduser().absolute()

    @property
    def folder_of_objects(self) -> Path:
        """Where the embedded object store keeps its files."""
        return self.objects_folder.expanduser().absolute() if self.objects_folder else self._beside("objects")

    @property
    def custodian_uri(self) -> str:
        """Which custodian keeps the master keys."""
        return self.custodian or f"file:{self._beside('keys')}"

    def credentials(self) -> tuple[str, SecretStr] | None:
        """The object store's credentials, where they are given.

        Raises:
            CommandError: half of them are given, or the file is open to others or cannot be understood.
        """
        if self.s3_credentials_file is not None:
            return _from_file(self.s3_credentials_file.expanduser())
        if self.s3_access_key and self.s3_secret_key:
            return self.s3_access_key, self.s3_secret_key
        if self.s3_access_key or self.s3_secret_key:
            message = "SHREDVAULT_S3_ACCESS_KEY and SHREDVAULT_S3_SECRET_KEY belong together; one is missing."
            raise CommandError(ExitCode.USAGE, message)
        return None

    def _beside(self, name: str) -> Path:
        """A folder beside the home: `keys` beside `home`, `queens-keys` beside `queens`."""
        home = self.home_folder
        return home.parent / (name if home.name == "home" else f"{home.name}-{name}")


def load_settings(**options: object) -> Settings:
    """Read the settings; an option that is None was not given.

    Raises:
        CommandError: a variable has a value that cannot be used.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        variable = name.upper().removeprefix("SHREDVAULT_")
        message = f"The setting SHREDVAULT_{variable} cannot be used: {first['msg']}."
        raise CommandError(ExitCode.USAGE, message) from invalid


def _from_file(path: Path) -> tuple[str, SecretStr]:
    try:
        if path.stat().st_mode & _OTHERS:
            message = f"The credentials file {path} is open to other users; its mode must be 0600."
            raise CommandError(ExitCode.REFUSED, message)
        with path.open(encoding="utf-8") as file:
            content = json.loads(file.read(_CREDENTIALS_BYTES_MAX))
        return str(content["access_key"]), SecretStr(str(content["secret_key"]))
    except (OSError, ValueError, KeyError, TypeError) as unreadable:
        message = f'The credentials file {path} cannot be used; it must be {{"access_key": "…", "secret_key": "…"}}.'
        raise CommandError(ExitCode.USAGE, message) from unreadable
