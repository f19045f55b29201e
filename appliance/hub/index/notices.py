"""What sites told of studies that are on their way. The newest notice of each study of a site is kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from appliance.hub.index.tables import notice as table
from appliance.hub.index.tables import study
from appliance.model.notice import StudyNotice

OF_SITE_MAX: Final = 5000  # the oldest go first; a study that changes is told again


@dataclass(frozen=True)
class Told:
    """A notice, and when it came, in Unix ms by the hub's clock."""

    site_id: str
    first_told_at: int
    told_at: int
    notice: StudyNotice


def tell(connection: Connection, site_id: str, notice: StudyNotice, now: int) -> None:
    """Takes the place of what the site told of this study before."""
    this = (table.c.site_id == site_id) & (table.c.study_instance_uid == notice.study_instance_uid)
    content = msgspec.json.encode(notice).decode()
    if connection.execute(update(table).where(this).values(content=content, told_at=now)).rowcount:
        return
    of_site = table.c.site_id == site_id
    if connection.execute(select(func.count()).where(of_site)).scalar_one() >= OF_SITE_MAX:
        oldest = select(func.min(table.c.told_at)).where(of_site).scalar_subquery()
        connection.execute(delete(table).where(of_site, table.c.told_at == oldest))
    connection.execute(
        insert(table).values(
            site_id=site_id,
            study_instance_uid=notice.study_instance_uid,
            content=content,
            first_told_at=now,
            told_at=now,
        )
    )


def of_studies(connection: Connection, uids: Collection[str]) -> dict[str, list[Told]]:
    """The notices of each of these studies, the newest first."""
    found: dict[str, list[Told]] = {}
    query = select(table).where(table.c.study_instance_uid.in_(list(uids))).order_by(table.c.told_at.desc())
    for row in connection.execute(query):
        found.setdefault(row.study_instance_uid, []).append(_told(row))
    return found


def newest_unfiled(connection: Connection, site: str | None, limit: int) -> list[Told]:
    """The newest notices of studies of which no instance is here yet."""
    filed = select(study.c.id).where(study.c.study_instance_uid == table.c.study_instance_uid).exists()
    query = select(table).where(~filed).order_by(table.c.told_at.desc()).limit(limit)
    if site is not None:
        query = query.where(table.c.site_id == site)
    return [_told(row) for row in connection.execute(query)]


def forget(connection: Connection, before: int) -> None:
    """Removes what was told last before this time, in Unix ms."""
    connection.execute(delete(table).where(table.c.told_at < before))


def _told(row: Row[Any]) -> Told:
    content = msgspec.json.decode(row.content, type=StudyNotice)
    return Told(row.site_id, row.first_told_at, row.told_at, content)
