"""Brings the schema to this version's with Alembic. Imported only where there is something to do.

Importing Alembic takes a good part of the time that a command needs to start, and almost every start finds the
schema as it should be (see `newest_revision`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from vault.errors import HomeError

__all__ = ["upgrade"]

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(tx: sa.Connection) -> None:
    """Run the migrations that are missing, in a writing transaction.

    Raises:
        HomeError: the database is newer than this program.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(tx).get_current_revision()
    if current is not None and current not in known:
        message = "This vault was written by a newer version of Shredvault; use that version or a later one."
        raise HomeError(message)
    config.attributes["connection"] = tx
    command.upgrade(config, "head")
