"""Alembic runs this. It works inside the transaction that `Index.migrate` began, so a step is whole or not at all."""

from __future__ import annotations

from alembic import context

from appliance.hub.index.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # also true of SQLite, though Alembic does not assume it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
