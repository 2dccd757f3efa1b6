"""Run by Alembic at start, in the transaction of the connection that it is handed."""

from alembic import context

from cds_service.records.schema import SCHEMA

context.configure(connection=context.config.attributes["connection"], target_metadata=SCHEMA)
context.run_migrations()
