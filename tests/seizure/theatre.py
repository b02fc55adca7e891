"""The stages of the long game: each catalogue and custodian that the short games have, with services of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tests.seizure.stages import CopiedStorage, folder_storage
from tests.services.openbao import OpenBao
from tests.services.postgresql import HURRIED, server
from tests.services.softhsm import SoftHsm, soft_hsm
from tests.vault.databases import Databases, Files, OnServer, blank_file, migrate


class Setting(NamedTuple):
    """What a game is played on."""

    databases: Databases
    uri: str
    storage: CopiedStorage


@dataclass
class Theatre:
    """Starts what stages need, when one needs it, and ends it with `closing`."""

    folder: Path
    closing: ExitStack

    @cached_property
    def files(self) -> Files:
        """Catalogues in files."""
        return Files(blank_file(self.folder / "blank.db"))

    @cached_property
    def server(self) -> OnServer:
        """Catalogues on a PostgreSQL server."""
        made = self.closing.enter_context(server(in_memory=True, **HURRIED))
        made.run("CREATE DATABASE blank")
        migrate(made.url("blank"))
        return OnServer(made)

    @cached_property
    def hsm(self) -> SoftHsm:
        """Tokens."""
        (self.folder / "softhsm").mkdir()
        return self.closing.enter_context(soft_hsm(self.folder / "softhsm"))

    @cached_property
    def bao(self) -> OpenBao:
        """A server whose storage is copied while it is stopped."""
        made = OpenBao(self.folder / "openbao")
        made.start()
        self.closing.callback(made.stop)
        return made


@contextmanager
def theatre(folder: Path) -> Iterator[Theatre]:
    """A theatre in a folder."""
    with ExitStack() as closing:
        yield Theatre(folder, closing)


def files_on_sqlite(house: Theatre, keys: Path) -> Setting:
    """Masters in files."""
    return Setting(house.files, f"file:{keys}", folder_storage(keys))


def a_soft_token_on_postgresql(house: Theatre, _: Path) -> Setting:
    """Masters in a token of SoftHSM."""
    token = house.hsm.make_token()
    return Setting(house.server, token.uri, folder_storage(token.folder))


def openbao_on_sqlite(house: Theatre, _: Path) -> Setting:
    """Masters in a Transit engine."""
    return Setting(house.files, house.bao.make_engine().uri, openbao_storage(house.bao))


def split_on_sqlite(house: Theatre, keys: Path) -> Setting:
    """Masters in files and in a token; both are needed."""
    token = house.hsm.make_token()
    return Setting(house.files, f"split:file:{keys},{token.uri}", folder_storage(keys, token.folder))


def openbao_storage(bao: OpenBao) -> CopiedStorage:
    """The storage of a server, which stops while it is copied or put back."""

    def copy(place: Path) -> None:
        bao.stop()
        bao.copy_storage(place)
        bao.start()

    def put_back(place: Path) -> None:
        bao.stop()
        bao.put_back(place)
        bao.start()

    return CopiedStorage(copy, put_back)


STAGES: dict[str, Callable[[Theatre, Path], Setting]] = {
    "masters in files, SQLite": files_on_sqlite,
    "masters in a SoftHSM token, PostgreSQL": a_soft_token_on_postgresql,
    "masters in OpenBao, SQLite": openbao_on_sqlite,
    "masters split between files and a SoftHSM token, SQLite": split_on_sqlite,
}
