"""Alembic's scripts: each only ever adds, so that the release before still runs on the index of the next one."""
