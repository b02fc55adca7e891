"""Alembic's entry: runs on the connection that `Catalogue.migrate` hands over."""

from __future__ import annotations

from alembic import context

from vault.catalogue.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=False)
context.run_migrations()
