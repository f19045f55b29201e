"""Whose studies may be seen: the one place where sites are kept apart. A query of patients' data takes a `Scope`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, exists, true

from appliance.hub.index.tables import study_site


@dataclass(frozen=True)
class Scope:
    """`sites`: those whose studies may be seen; None for all: the hub's shell, its own work, who was granted all."""

    sites: frozenset[str] | None


EVERYTHING: Final = Scope(None)


def visible(scope: Scope, study_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the study of this row is in scope. What is not does not exist for who asks."""
    if scope.sites is None:
        return true()
    link = study_site.c
    return exists().where(link.study_id == study_id, link.sees, link.site_id.in_(sorted(scope.sites)))
