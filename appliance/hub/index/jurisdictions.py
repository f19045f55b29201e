"""Jurisdictions that sites carry: a name, such as a district or an authority, that stands for all of its sites."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from appliance.errors import NotFoundError, UsageError
from appliance.hub.index import sites
from appliance.hub.index.tables import site_jurisdiction as table

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)


def names(connection: Connection) -> set[str]:
    """Every one that a site carries."""
    return set(connection.execute(select(table.c.jurisdiction).distinct()).scalars())


def of_sites(connection: Connection) -> dict[str, list[str]]:
    """What each site carries, by name; a site that carries none is not there."""
    found: dict[str, list[str]] = {}
    for row in connection.execute(select(table).order_by(table.c.site_id, table.c.jurisdiction)):
        found.setdefault(row.site_id, []).append(row.jurisdiction)
    return found


def sites_in(connection: Connection, jurisdictions: Collection[str]) -> frozenset[str]:
    """The sites that carry any of these."""
    query = select(table.c.site_id).where(table.c.jurisdiction.in_(sorted(jurisdictions)))
    return frozenset(connection.execute(query).scalars())


def set_of(connection: Connection, site_id: str, jurisdictions: Collection[str]) -> None:
    """What a site carries from now on. Raises NotFoundError for the site, UsageError for a bad name."""
    if sites.find(connection, site_id) is None:
        raise NotFoundError(f"There is no site {site_id!r}", hint="`appliance hub site list` names the sites.")
    if any(not _NAME.fullmatch(name) for name in jurisdictions):
        raise UsageError("The name of a jurisdiction is made of a-z, 0-9 and '-', at most 32")
    connection.execute(delete(table).where(table.c.site_id == site_id))
    for name in sorted(set(jurisdictions)):
        connection.execute(insert(table).values(site_id=site_id, jurisdiction=name))
