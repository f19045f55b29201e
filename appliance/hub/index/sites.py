"""The sites that may upload."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from appliance.errors import NotFoundError
from appliance.hub.index.tables import site as table


@dataclass(frozen=True)
class Site:
    """A row of `site`; times in Unix ms."""

    id: str
    name: str
    secret_digest: bytes
    created_at: int
    renewed_at: int | None
    revoked_at: int | None
    seen_at: int | None


def find(connection: Connection, site_id: str) -> Site | None:
    """The site, revoked or not."""
    row = connection.execute(select(table).where(table.c.id == site_id)).one_or_none()
    return Site(*row) if row else None


def every(connection: Connection) -> list[Site]:
    """All sites by id."""
    return [Site(*row) for row in connection.execute(select(table).order_by(table.c.id))]


def add(connection: Connection, site_id: str, name: str, secret_digest: bytes, now: int) -> None:
    """Adds a site; `sqlalchemy.exc.IntegrityError` when there is one of this id."""
    connection.execute(
        insert(table).values(id=site_id, name=name, secret_digest=secret_digest, created_at=now),
    )


def renew(connection: Connection, site_id: str, secret_digest: bytes, now: int) -> None:
    """Gives the site another secret; the old one ends at once, and a revoked site is let in again. NotFoundError."""
    _change(connection, site_id, secret_digest=secret_digest, renewed_at=now, revoked_at=None)


def revoke(connection: Connection, site_id: str, now: int) -> None:
    """Ends the site's access at once; what it sent stays. Raises NotFoundError."""
    _change(connection, site_id, revoked_at=now)


def seen(connection: Connection, site_id: str, now: int) -> None:
    """Notes that the site was heard of."""
    _change(connection, site_id, seen_at=now)


def _change(connection: Connection, site_id: str, **values: object) -> None:
    if connection.execute(update(table).where(table.c.id == site_id).values(**values)).rowcount != 1:
        raise NotFoundError(f"There is no site {site_id!r}", hint="`appliance hub site list` names the sites.")
