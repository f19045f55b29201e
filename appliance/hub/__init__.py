"""The regional centre: takes parcels from units, verifies and archives them, gives receipts, and hands studies out.

`server` listens; `intake` writes uploads durably; `ingest` makes archive files and index rows of a whole parcel;
`store` keeps objects; `index/` is the database (SQLAlchemy Core, `migrations/` by Alembic); `commands` are the verbs.
`previewing` and `notices` show what is on its way; `renditions/` makes what a viewer takes of what is stored. This room
alone writes the hub's data directory (`uploads/`, `refused/`, `staging/`, `previews/`, `renditions/`, `archive/`) and
its index.
It never imports a unit's room.
"""
