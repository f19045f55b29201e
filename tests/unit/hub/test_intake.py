"""The file of an upload: closed when nobody writes to it any more, and not before."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub import hub_config
from support.processes import wait_for

from appliance.hub.credentials import Credential
from appliance.hub.index import parcels, sites
from appliance.hub.index.database import Index
from appliance.hub.index.parcels import Opening, Parcel
from appliance.hub.index.uptime import Moment
from appliance.hub.intake import Intake, Writer
from appliance.hub.uptime import Uptime

NAME = "0" * 32
SITE = Credential("site-1", bytes(32))


@pytest.fixture
def intake(tmp_path: Path) -> Iterator[Intake]:
    index = Index.open(hub_config(tmp_path))
    (tmp_path / "uploads").mkdir()
    with index.write() as connection:
        sites.add(connection, SITE.site, "Site", SITE.secret_digest, 1)
        parcels.create(
            connection, SITE.site, None, Opening(NAME, length=10, priority=2, metadata="", moment=Moment(1, 1))
        )
    made = Intake(index, Uptime(index), tmp_path, reserve_bytes=0)
    made.make_file(NAME)
    yield made
    index.close()


def _parcel(intake: Intake) -> Parcel:
    with intake.index.read() as connection:
        found = parcels.find(connection, SITE.site, NAME)
    assert found
    return found


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_it_is_closed_only_after_the_write_that_a_cancelled_request_left(intake: Intake) -> None:
    writer = Writer(intake, _parcel(intake), SITE)
    writing = threading.Thread(target=writer.append, args=(b"12345",))
    closing = threading.Thread(target=writer.close)
    with intake.index.write():  # the append gets as far as its commit
        writing.start()
        wait_for(lambda: intake.path(NAME).stat().st_size == 5, "the bytes in the file")
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
    writing.join()
    closing.join()
    assert _parcel(intake).offset == 5


def test_a_file_that_can_not_be_cut_to_its_offset_is_not_left_open(intake: Intake) -> None:
    before = _open_files()
    with pytest.raises(OSError, match="Invalid argument"):
        Writer(intake, dataclasses.replace(_parcel(intake), offset=-1), SITE)
    assert _open_files() == before
