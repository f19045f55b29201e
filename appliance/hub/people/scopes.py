"""Whose studies a person sees: what was granted, and the `Scope` that it comes to now.

Jurisdictions are looked up anew for each request: a site that joins one, or leaves it, is seen, or not, at once.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from appliance.errors import NotFoundError
from appliance.hub.index import jurisdictions, sites
from appliance.hub.index.scope import EVERYTHING, Scope
from appliance.hub.people.tables import person_scope as table
from appliance.hub.people.values import Grant


def granted(connection: Connection, person_id: int) -> Grant:
    """What was said of this person."""
    rows = connection.execute(select(table.c.kind, table.c.name).where(table.c.person_id == person_id)).all()

    def names(kind: str) -> tuple[str, ...]:
        return tuple(sorted(row.name for row in rows if row.kind == kind))

    return Grant(bool(names("all")), names("site"), names("jurisdiction"))


def scope_of(connection: Connection, person_id: int) -> Scope:
    """The sites that it comes to now; none when nothing was granted."""
    grant = granted(connection, person_id)
    if grant.everything:
        return EVERYTHING
    return Scope(frozenset(grant.sites) | jurisdictions.sites_in(connection, grant.jurisdictions))


def grant(connection: Connection, person_id: int, what: Grant) -> None:
    """Replaces what was granted. Raises NotFoundError for a site or a jurisdiction that there is not."""
    for site_id in what.sites:
        if sites.find(connection, site_id) is None:
            raise NotFoundError(f"There is no site {site_id!r}", hint="`appliance hub site list` names the sites.")
    if missing := set(what.jurisdictions) - jurisdictions.names(connection):
        hint = "`appliance hub site set-jurisdictions SITE NAME` makes one."
        raise NotFoundError(f"No site carries the jurisdiction {min(missing)!r}", hint=hint)
    connection.execute(delete(table).where(table.c.person_id == person_id))
    said = [("all", "")] if what.everything else []
    said += [("site", name) for name in what.sites] + [("jurisdiction", name) for name in what.jurisdictions]
    for kind, name in dict.fromkeys(said):
        connection.execute(insert(table).values(person_id=person_id, kind=kind, name=name))
