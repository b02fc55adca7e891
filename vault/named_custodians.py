"""The custodians that a home's settings name: no other is opened, whatever the catalogue says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from keystore import Ask
from vault.catalogue import Catalogue, keys
from vault.errors import CustodianError, CustodianUnavailableError
from vault.home import SETTINGS, Home
from vault.host.whole_files import write_json
from vault.keys.custody import open_apart
from vault.wording import number_of

__all__ = ["allow_custodian", "forget_custodian"]


def allow_custodian(path: Path, uri: str, *, ask: Ask | None = None) -> bool:
    """Name a custodian in this host's settings, so that masters may stand there; False when it was named before.

    `ask`: see `open_vault`.

    Raises:
        HomeError: there is no vault there.
        CustodianError: the custodian cannot be used, or does not answer.
    """
    home = Home.at(path)
    known = uri in home.settings["custodians"]
    custodian = open_apart(uri, path, Path(home.settings["objects_folder"]), ask=ask, make=not known)
    if known:
        return False
    try:
        # A mistyped address must not stay: `rebuild` would wait for it to answer.
        custodian.names()
    except CustodianUnavailableError:
        raise
    except CustodianError:
        # A service that answers and refuses: who only uses masters need not be allowed to list them.
        pass
    write_json(path / SETTINGS, home.settings | {"custodians": [*home.settings["custodians"], uri]})
    return True


def forget_custodian(path: Path, uri: str) -> bool:
    """Name a custodian no more in this host's settings; False when it was not named.

    Raises:
        HomeError: there is no vault there.
        CatalogueError: the database cannot be used now.
        CustodianError: a master may still stand there.
    """
    home = Home.at(path)
    named = home.settings["custodians"]
    if uri not in named:
        return False
    with closing(Catalogue(home.database)) as catalogue:
        catalogue.migrate()
        with catalogue.read() as tx:
            standing = keys.count_masters_at(tx, uri)
    if standing:
        message = (
            f"{number_of(standing, 'master key')} may still stand there. `shredvault custodian show` lists those in "
            "use, which `custodian move` takes elsewhere; `shredvault recover` discards the others."
        )
        raise CustodianError(message)
    write_json(path / SETTINGS, home.settings | {"custodians": [one for one in named if one != uri]})
    return True
