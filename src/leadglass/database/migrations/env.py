"""What Alembic runs before the revisions: it uses the transaction it is given."""

from alembic import context

from leadglass.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata
)
context.run_migrations()
