"""Runs the migrations on the connection that functions/store/migrate.py hands over."""

from alembic import context

_given = context.config.attributes
context.configure(connection=_given["connection"], on_version_apply=_given["on_version_apply"])
context.run_migrations()
