"""The home folder of a vault: settings, catalogue, destruction records. Founding it and opening it.

```
home/          0700
  vault.json        which vault this is, where its bucket, its custodians and its database are
  bucket.json 0600  the bucket's credentials
  signing.json 0600 the key that signs the ledger's checkpoints, and certificates
  catalogue.db 0600 unless another database is named
  destructions/     records of destructions
  last-checkpoint   0600 the ledger's checkpoint as `status --check` saw it last
objects/       the embedded object store, unless another is named
keys/          the file custodian's masters, unless another custodian is named
```
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from pydantic import SecretStr

from keystore import Ask
from vault.catalogue import Catalogue, sqlite_url
from vault.catalogue.schema import vaults
from vault.clocks.clock import Clock, SystemClock
from vault.clocks.trusted_time import TimeSources, simulated_sources
from vault.context import Vault
from vault.errors import CatalogueError, HomeError, VaultError
from vault.founding import Founding, found_catalogue
from vault.host.embedded_store import flush, share
from vault.host.whole_files import partial_of, replace_database, write_json
from vault.keys.custody import Custody, open_apart
from vault.ledger.publishing import publish
from vault.log import SigningKey
from vault.log.signing import SIGNING_FILE
from vault.log.vouching import require_key_in_use
from vault.objects import Bucket, BucketSettings

__all__ = [
    "AWS",
    "EMBEDDED",
    "SETTINGS",
    "Founding",
    "Home",
    "found_vault",
    "open_for_rebuild",
    "open_vault",
    "open_without_keys",
]

FORMAT: Final = 1
EMBEDDED: Final = "embedded"
AWS: Final = "aws"
VAULT_ID_BYTES: Final = 16
CATALOGUE: Final = "catalogue.db"
SETTINGS: Final = "vault.json"
_CREDENTIALS: Final = "bucket.json"


@dataclass(frozen=True, slots=True)
class Home:
    """A founded home."""

    path: Path
    settings: dict[str, Any]

    @classmethod
    def at(cls, path: Path) -> Home:
        """Read the settings.

        Raises:
            HomeError: there is no vault, or one of another version.
        """
        try:
            settings = json.loads((path / SETTINGS).read_text("utf-8"))
        except FileNotFoundError as missing:
            message = f"There is no vault in {path}; `shredvault init` founds one."
            raise HomeError(message) from missing
        except (OSError, ValueError) as broken:
            message = f"The settings of the vault in {path} cannot be read."
            raise HomeError(message) from broken
        if not isinstance(settings, dict) or settings.get("format") != FORMAT:
            message = f"The vault in {path} was made by another version of Shredvault; this one reads format {FORMAT}."
            raise HomeError(message)
        return cls(path, settings)

    @property
    def destructions(self) -> Path:
        """Where destruction records are written."""
        return self.path / "destructions"

    @property
    def database(self) -> str:
        """URL of the catalogue's database."""
        return str(self.settings.get("database") or sqlite_url(self.path / CATALOGUE))


def found_vault(founding: Founding, clock: Clock | None = None, *, ask: Ask | None = None) -> bool:
    """Found a vault, or finish founding one that was cut off. Safe to run twice. `ask`: see `open_vault`.

    Returns whether anything was done.

    Raises:
        HomeError: the folder holds something else, or a vault founded with other choices.
        CatalogueError: the database cannot be used now.
        CustodianError, ObjectStoreError, PolicyError: see there.
    """
    founding.first_policy()
    if founding.database is not None:
        # Before anything is written down: a mistyped URL must not stay.
        with closing(Catalogue(founding.database)) as catalogue:
            catalogue.incarnation()
    path = founding.home
    path.mkdir(parents=True, mode=0o700, exist_ok=True)
    settings = {
        "format": FORMAT,
        "objects": founding.objects,
        "objects_folder": str(founding.objects_folder.resolve()),
        "bucket": founding.bucket,
        "region": founding.region,
        "custodians": [founding.custodian],
    }
    if founding.database is not None:
        settings["database"] = founding.database
    if (path / SETTINGS).exists():
        _require_same_choices(Home.at(path), settings)
    else:
        ours = {_CREDENTIALS, partial_of(path / _CREDENTIALS).name, partial_of(path / SETTINGS).name}
        if any(entry.name not in ours for entry in path.iterdir()):
            message = f"The folder {path} is not empty and holds no vault; choose another."
            raise HomeError(message)
        credentials = _credentials(founding)
        # Asked before anything is written down: a mistyped address, or credentials that are not right, must not stay.
        # Later what the custodian needs must be there: whatever is made anew has no keys in it.
        open_apart(founding.custodian, path, founding.objects_folder, ask=ask, make=True).names()
        if founding.objects != EMBEDDED:
            endpoint = None if founding.objects == AWS else founding.objects
            with closing(_bucket(settings, credentials, endpoint)) as bucket:
                bucket.ensure(versioned=True)
        settings["vault_id"] = secrets.token_hex(VAULT_ID_BYTES)
        write_json(path / _CREDENTIALS, credentials)
        write_json(path / SETTINGS, settings)
    vault_id = bytes.fromhex(Home.at(path).settings["vault_id"])
    with _parts(Home.at(path), ask=ask) as (catalogue, bucket, custody):
        bucket.ensure(versioned=True)
        catalogue.migrate()
        with catalogue.read() as tx:
            # One that was founded with this home has its key, or has lost it.
            if tx.execute(sa.select(vaults.c.vault_id)).scalar() != vault_id:
                SigningKey.make(path, vault_id)
        vault = _vault(Home.at(path), vault_id, catalogue, bucket, custody, clock)
        fresh = found_catalogue(vault, custody.at(founding.custodian), founding)
        publish(vault)
        return fresh


def _require_same_choices(home: Home, chosen: dict[str, Any]) -> None:
    known = home.settings
    settings = {**chosen, "vault_id": known.get("vault_id", "")}
    if chosen["custodians"][0] in known["custodians"]:
        # A vault may have moved since, or be allowed to.
        settings["custodians"] = known["custodians"]
    if known == settings:
        return
    names = sorted(known.keys() | settings.keys())
    differing = ", ".join(name for name in names if known.get(name) != settings.get(name))
    message = f"The vault in {home.path} was founded with another choice of: {differing}."
    if not _is_finished(home):
        message = (
            f"A founding in {home.path} was cut off, with another choice of: {differing}. Repeat that one, or delete "
            "the folder, in which nothing is kept yet, and begin anew."
        )
    raise HomeError(message)


def _is_finished(home: Home) -> bool:
    """Whether the catalogue has this vault; one that cannot be asked counts as having it."""
    if "database" not in home.settings and not (home.path / CATALOGUE).exists():
        return False
    try:
        with closing(Catalogue(home.database)) as catalogue:
            catalogue.migrate()
            with catalogue.read() as tx:
                there = tx.execute(sa.select(vaults.c.vault_id)).scalar()
                return there is not None and there.hex() == home.settings["vault_id"]
    except CatalogueError:
        return True


def _credentials(founding: Founding) -> dict[str, str]:
    """The bucket's credentials: those given; on AWS else the identity of the process; else a secret of our own."""
    if founding.access_key and founding.secret_key:
        return {"access_key": founding.access_key, "secret_key": founding.secret_key.get_secret_value()}
    if founding.objects == AWS:
        return {"access_key": "", "secret_key": ""}
    return {"access_key": "shredvault", "secret_key": secrets.token_urlsafe(32)}


@contextmanager
def open_vault(
    path: Path, clock: Clock | None = None, *, endpoint: str | None = None, ask: Ask | None = None
) -> Iterator[Vault]:
    """Open the vault in a home folder; starts its embedded object store where nobody runs it.

    With `endpoint`, from `open_without_keys` in the process above, the store is used there and never started.
    `ask` asks a person for a custodian's PIN or token that stands in no file and no variable. A custodian is opened
    when it is first used, and more than once: `ask` should remember what it was told.

    Raises:
        HomeError: there is no vault there, one of another version, or its signing key is not the one in use.
        EmbeddedStoreError: the embedded object store does not start.
        CustodianError: the custodian cannot be used.
    """
    home = Home.at(path)
    with _parts(home, endpoint=endpoint, ask=ask) as (catalogue, bucket, custody):
        catalogue.migrate()
        with catalogue.read() as tx:
            vault_id = tx.execute(sa.select(vaults.c.vault_id)).scalar()
        if vault_id is None or vault_id.hex() != home.settings["vault_id"]:
            message = f"The catalogue in {path} is unfinished or another vault's; run `shredvault init` again."
            raise HomeError(message)
        vault = _vault(home, vault_id, catalogue, bucket, custody, clock)
        with catalogue.read() as tx:
            require_key_in_use(tx)
        yield vault


def _vault(
    home: Home, vault_id: bytes, catalogue: Catalogue, bucket: Bucket, custody: Custody, clock: Clock | None
) -> Vault:
    lock_file = home.path / "destruction.lock"
    if clock is None:
        clock, sources = SystemClock(), TimeSources({"object store": bucket.now, "database": catalogue.now})
    else:
        sources = simulated_sources(clock)
    return Vault(
        vault_id,
        catalogue,
        bucket,
        custody,
        clock,
        lock_file=lock_file,
        settle=_settler(home.settings),
        time=sources,
        signing=SigningKey.at(home.path, vault_id),
    )


@contextmanager
def open_for_rebuild(
    path: Path, clock: Clock | None = None, *, endpoint: str | None = None, ask: Ask | None = None
) -> Iterator[Vault]:
    """The vault with an empty catalogue, which takes the place of the lost or old one when the block has ended well.

    An SQLite file that was there stays beside it under another name. A PostgreSQL database must be empty already.
    For `endpoint` and `ask` see `open_vault`.

    Raises:
        HomeError: there is no vault there, or the database is not empty.
        CatalogueFullError: the new catalogue could not be written whole; the old one, if any, is still in place.
    """
    home = Home.at(path)
    old, fresh = path / CATALOGUE, path / f"{CATALOGUE}.rebuilding"
    in_file = "database" not in home.settings
    for left in path.glob(f"{fresh.name}*"):
        left.unlink()
    database = sqlite_url(fresh) if in_file else home.database
    with _parts(home, endpoint=endpoint, database=database, ask=ask) as (catalogue, bucket, custody):
        catalogue.migrate()
        if not _is_empty(catalogue):
            message = "The database is not empty; name an empty one in vault.json to rebuild the catalogue in."
            raise HomeError(message)
        vault_id = bytes.fromhex(home.settings["vault_id"])
        had_key = (path / SIGNING_FILE).exists()
        SigningKey.make(path, vault_id)
        vault = _vault(home, vault_id, catalogue, bucket, custody, clock)
        try:
            yield vault
        except VaultError:
            if not had_key and _is_empty(catalogue):
                # No ledger names it; what is signed with it would be a stranger's.
                (path / SIGNING_FILE).unlink(missing_ok=True)
            raise
        aside = path / f"{CATALOGUE}.before-{vault.clock.now():%Y%m%dT%H%M%S%fZ}"
    if in_file:
        replace_database(fresh, old, aside)


def _is_empty(catalogue: Catalogue) -> bool:
    with catalogue.read() as tx:
        return tx.execute(sa.select(vaults)).one_or_none() is None


@contextmanager
def open_without_keys(path: Path) -> Iterator[tuple[Catalogue, str | None]]:
    """The catalogue of a home and the address of its object store, and nothing that could lead to a key.

    For whoever supervises others that use keys. An embedded store that another process runs is not used but waited
    for: a service that is to stay must own its store.

    Raises:
        HomeError: there is no vault there, or one of another version.
        EmbeddedStoreError: the embedded object store does not start.
    """
    home = Home.at(path)
    credentials = json.loads((path / _CREDENTIALS).read_text("utf-8"))
    secret = SecretStr(credentials["secret_key"])
    with _endpoint(home.settings, credentials["access_key"], secret, borrow=False) as endpoint:
        catalogue = Catalogue(home.database)
        try:
            catalogue.migrate()
            catalogue.vouch(SigningKey.at(path, bytes.fromhex(home.settings["vault_id"])).tag)
            with catalogue.read() as tx:
                require_key_in_use(tx)
            yield catalogue, endpoint
        finally:
            catalogue.close()


def _settler(settings: dict[str, Any]) -> Callable[[], None]:
    """The embedded store acknowledges before it has synced; real S3 does not."""
    if settings["objects"] != EMBEDDED:
        return lambda: None
    return lambda: flush(Path(settings["objects_folder"]))


@contextmanager
def _parts(
    home: Home, *, endpoint: str | None = None, database: str | None = None, ask: Ask | None = None
) -> Iterator[tuple[Catalogue, Bucket, Custody]]:
    settings = home.settings
    credentials = json.loads((home.path / _CREDENTIALS).read_text("utf-8"))
    secret = SecretStr(credentials["secret_key"])
    apart_from = home.path, Path(settings["objects_folder"])
    custody = Custody(
        lambda uri: open_apart(uri, *apart_from, ask=ask), lambda: Home.at(home.path).settings["custodians"]
    )
    with nullcontext(endpoint) if endpoint else _endpoint(settings, credentials["access_key"], secret) as url:
        bucket = _bucket(settings, credentials, url)
        catalogue = Catalogue(database or home.database)
        try:
            yield catalogue, bucket, custody
        finally:
            catalogue.close()
            bucket.close()


def _bucket(settings: dict[str, Any], credentials: dict[str, str], endpoint: str | None) -> Bucket:
    return Bucket(
        BucketSettings(
            endpoint_url=endpoint,
            region=settings["region"],
            bucket=settings["bucket"],
            access_key=credentials["access_key"],
            secret_key=SecretStr(credentials["secret_key"]),
        )
    )


@contextmanager
def _endpoint(
    settings: dict[str, Any], access_key: str, secret: SecretStr, *, borrow: bool = True
) -> Iterator[str | None]:
    if settings["objects"] == EMBEDDED:
        with share(Path(settings["objects_folder"]), access_key, secret, borrow=borrow) as endpoint:
            yield endpoint
    elif settings["objects"] == AWS:
        yield None
    else:
        yield settings["objects"]
