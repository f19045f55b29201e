"""What the hub wishes of its sites."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, union

from appliance.hub.index.tables import notice, study, study_site
from appliance.hub.index.tables import wish as table
from appliance.model.notice import WISHES_MAX, Wish, Wishes, WishKind


def sites_of(connection: Connection, study_instance_uid: str) -> list[str]:
    """The sites that told of this study, or sent something of it."""
    told = select(notice.c.site_id).where(notice.c.study_instance_uid == study_instance_uid)
    sent = (
        select(study_site.c.site_id)
        .join(study, study.c.id == study_site.c.study_id)
        .where(study.c.study_instance_uid == study_instance_uid)
    )
    return sorted(connection.execute(union(told, sent)).scalars())


def add(
    connection: Connection, site_id: str, study_instance_uid: str, *, series: str, kind: WishKind, by: str, now: int
) -> int:
    """Wishes it of this site; returns the wish's number."""
    values = {"study_instance_uid": study_instance_uid, "series": series, "kind": kind, "at": now}
    key = connection.execute(insert(table).values(site_id=site_id, wished_by=by[:200], **values)).inserted_primary_key
    return int(key[0])  # type: ignore[index]


def after(connection: Connection, site_id: str, number: int) -> Wishes:
    """The wishes of this site with a higher number, the lowest first."""
    of_site = table.c.site_id == site_id
    latest = connection.execute(select(func.max(table.c.id)).where(of_site)).scalar() or 0
    query = select(table).where(of_site, table.c.id > number).order_by(table.c.id).limit(WISHES_MAX)
    return Wishes(wishes=[_wish(row) for row in connection.execute(query)], latest=latest)


def latest(connection: Connection) -> int:
    """The number of the last wish of all."""
    return connection.execute(select(func.max(table.c.id))).scalar() or 0


def of_study(connection: Connection, study_instance_uid: str) -> list[Wish]:
    """All wishes that were made of a study, the oldest first."""
    query = select(table).where(table.c.study_instance_uid == study_instance_uid).order_by(table.c.id)
    return [_wish(row) for row in connection.execute(query)]


def _wish(row: Row[Any]) -> Wish:
    kind = WishKind(row.kind)
    return Wish(id=row.id, study_instance_uid=row.study_instance_uid, series=row.series, kind=kind, at=row.at)
