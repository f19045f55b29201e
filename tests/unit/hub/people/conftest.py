"""An index with two sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.filed import new_index

from appliance.hub.index.database import Index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    opened = new_index(tmp_path / "hub", "a", "b", "c")
    yield opened
    opened.close()
