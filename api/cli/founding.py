"""`shredvault init`: founds a vault."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from vault.catalogue import Catalogue
from vault.errors import HomeError, NotApprovedError
from vault.home import AWS, EMBEDDED, Founding, Home, found_vault, open_vault
from vault.orders import lacking_approvals
from vault.status import status_of

from .exits import CommandError, ExitCode
from .manual import described
from .orders import read_file
from .screen import facts, note, print_json, say, somebody
from .settings import HomeOption, JsonOption, Settings, load_settings

__all__ = ["init"]


@described
def init(
    *,
    home: HomeOption = None,
    objects: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Where documents are kept: `embedded` (a store that runs on this machine), `aws`, or the URL of "
            "an S3 service. [dim]Default embedded; SHREDVAULT_OBJECTS.[/dim]",
        ),
    ] = None,
    objects_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Files of the embedded store. [dim]Default beside the home; SHREDVAULT_OBJECTS_FOLDER.[/dim]",
        ),
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(help="The bucket. [dim]Default shredvault; SHREDVAULT_BUCKET.[/dim]")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Its region. [dim]Default us-east-1; SHREDVAULT_REGION.[/dim]")
    ] = None,
    custodian: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Who keeps the master keys: file:/absolute/folder, outside the home. "
            "[dim]Default `keys` beside the home; SHREDVAULT_CUSTODIAN.[/dim]",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The catalogue's database: postgresql://user@host/database, its password in PGPASSWORD or a "
            "password file. [dim]Default a SQLite file in the home; SHREDVAULT_DATABASE.[/dim]",
        ),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="The zone whose calendar counts. [dim]Default America/New_York; SHREDVAULT_TIME_ZONE.[/dim]",
        ),
    ] = None,
    retention_months: Annotated[
        int | None,
        typer.Option(
            metavar="MONTHS",
            help="How long a record is kept. [dim]Default 24; SHREDVAULT_RETENTION_MONTHS.[/dim]",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The policy, as `shredvault policy draft` wrote it; instead of time zone and retention. Without one, "
            "records can be filed and nothing can be destroyed.",
        ),
    ] = None,
    approval: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A signature on the policy; once for each approver.")
    ] = None,
    s3_credentials_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='JSON, mode 0600: {"access_key": …, "secret_key": …}. Or set SHREDVAULT_S3_ACCESS_KEY and '
            "SHREDVAULT_S3_SECRET_KEY. [dim]SHREDVAULT_S3_CREDENTIALS_FILE.[/dim]",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Found a vault. Safe to run twice: a vault that is there stays as it is.

    The master keys must not lie inside the home: whoever copies the one must not get the other with it.
    Back up the home and the objects as often as you like, and never the keys.

    \b
    Examples:
      shredvault init
      shredvault init --policy policy.json --approval ada.sig --approval carl.sig --approval rita.sig
      shredvault init --home /srv/shredvault/home --custodian file:/etc/shredvault/keys
      shredvault init --objects https://s3.example.net --bucket ids --s3-credentials-file s3.json
    """  # noqa: D301
    settings = load_settings(
        home=home,
        objects=objects,
        objects_folder=objects_folder,
        bucket=bucket,
        region=region,
        custodian=custodian,
        database=database,
        time_zone=time_zone,
        retention_months=retention_months,
        s3_credentials_file=s3_credentials_file,
    )
    credentials = settings.credentials()
    if settings.objects not in (EMBEDDED, AWS) and credentials is None and not _is_founded(settings.home_folder):
        message = (
            "This object store needs credentials: set SHREDVAULT_S3_ACCESS_KEY and SHREDVAULT_S3_SECRET_KEY, "
            "or give --s3-credentials-file."
        )
        raise CommandError(ExitCode.USAGE, message)
    if policy is not None and settings.model_fields_set & {"time_zone", "retention_months"}:
        message = "Time zone and retention stand in the policy; give either --policy or these."
        raise CommandError(ExitCode.USAGE, message)
    founding = Founding(
        home=settings.home_folder,
        objects=settings.objects,
        objects_folder=settings.folder_of_objects,
        bucket=settings.bucket,
        region=settings.region,
        custodian=settings.custodian_uri,
        time_zone=settings.time_zone,
        retention_months=settings.retention_months,
        access_key=credentials[0] if credentials else None,
        secret_key=credentials[1] if credentials else None,
        database=settings.database,
        policy=read_file(policy) if policy is not None else None,
        approvals=tuple(read_file(path) for path in approval or ()),
    )
    founded = found_vault(founding, ask=somebody())
    if not founded:
        _refuse_another_policy(settings)
    _tell(settings, founded=founded, as_json=as_json)


def _is_founded(home: Path) -> bool:
    try:
        Home.at(home)
    except HomeError:
        return False
    return True


def _refuse_another_policy(settings: Settings) -> None:
    """The policy stands in the catalogue; a second `init` does not change it, and must not seem to."""
    if not settings.model_fields_set & {"time_zone", "retention_months"}:
        return
    with open_vault(settings.home_folder, ask=somebody()) as vault:
        known = status_of(vault)
    for name, has in (("time_zone", known.time_zone), ("retention_months", known.retention_months)):
        if name in settings.model_fields_set and getattr(settings, name) != has:
            message = f"The vault in {settings.home_folder} was founded with another choice of: {name} (it is {has})."
            raise CommandError(ExitCode.NO_VAULT, message)


def _tell(settings: Settings, *, founded: bool, as_json: bool) -> None:
    home = Home.at(settings.home_folder)
    if as_json:
        print_json({"founded": founded, "home": home.path, **home.settings})
        return
    if not founded:
        say(f"There is a vault in {home.path} already; nothing was changed.")
        _warn(home)
        return
    say(f"The vault is founded in {home.path}.")
    objects = home.settings["objects"]
    facts(
        [
            ("documents", home.settings["objects_folder"] if objects == EMBEDDED else objects),
            ("master keys", ", ".join(home.settings["custodians"])),
            ("catalogue", home.database),
        ]
    )
    say('Next: shredvault access create --role center --label "…", then shredvault serve.')
    _warn(home)


def _warn(home: Home) -> None:
    """Two approvals of three found a vault as none do; who gave them must not learn it from the first sweep."""
    with closing(Catalogue(home.database)) as catalogue, catalogue.read() as tx:
        lacking = lacking_approvals(tx)
    if lacking:
        note(str(NotApprovedError(lacking)))
