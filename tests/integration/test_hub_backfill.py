"""A hub from before there were attributes: what it holds is found after its next start, whatever cuts that short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from support.hub import RunningHub, add_site, hub_config, running_hub, tiny_parcel
from support.processes import wait_for

from appliance.hub.backfill import fill
from appliance.hub.index import attribute_tables as tables
from appliance.hub.index.database import Index
from appliance.hub.index.tables import study
from appliance.hub.objects.directory import DirectoryStore

FILLED = (
    tables.instance_content,
    tables.series_request,
    tables.series_key,
    tables.study_content,
    tables.study_key,
    tables.patient,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The directory of a hub that has two studies, as it was before there were attributes."""
    config = hub_config(tmp_path / "hub")
    secret = add_site(config)  # kept for a second start
    (tmp_path / "secret").write_text(secret)
    with running_hub(config, secret) as running:
        for number, count in ((1, 5), (2, 3)):
            parcel = tiny_parcel(tmp_path / "work", number, range(count), space="700", side=32)
            assert running.client().send(parcel)["verdict"] == "verified"
    return tmp_path / "hub"


def everything(index: Index) -> dict[str, list[Any]]:
    """All attributes, without the numbers of rows that order alone decides."""
    with index.read() as connection:
        return {
            table.name: sorted(
                tuple(value for name, value in row._mapping.items() if name not in {"id", "patient_row"})
                for row in connection.execute(select(table))
            )
            for table in FILLED
        }


def forget(index: Index) -> None:
    with index.write() as connection:
        for table in FILLED:
            connection.execute(delete(table))
        newest = connection.execute(select(func.max(study.c.id))).scalar_one()
        connection.execute(update(tables.attribute_backfill).values(study_id=newest, instance_id=0))


def test_headers_in_the_store_give_the_same_rows_as_filing_did(data: Path):
    index, store = Index.open(hub_config(data)), DirectoryStore(data)
    before = everything(index)
    assert len(before["instance_content"]) == 8
    forget(index)

    batches = []
    while count := fill(index, store, 2):
        batches.append(count)
        index.close()
        index = Index.open(hub_config(data))  # as if it had been killed here

    assert batches == [2, 1, 2, 2, 1]
    assert everything(index) == before
    assert fill(index, store) == 0
    index.close()


def test_a_running_hub_fills_what_is_missing_beside_its_work(data: Path):
    index = Index.open(hub_config(data))
    before = everything(index)
    forget(index)
    with running_hub(hub_config(data), (data.parent / "secret").read_text()) as running:
        parcel = tiny_parcel(data.parent / "work", 3, range(2), space="700", side=32)
        assert running.client().send(parcel)["verdict"] == "verified"
        wait_for(lambda: len(everything(index)["instance_content"]) == 10, "all attributes are here")
    after = everything(index)
    index.close()
    assert len(after["instance_content"]) == 10
    assert set(before["instance_content"]) <= set(after["instance_content"])


def test_an_image_that_the_disk_lost_is_filled_with_what_the_index_knew(data: Path):
    index = Index.open(hub_config(data))
    forget(index)
    for path in (data / "archive").rglob("000000.dcm"):
        path.unlink()
    for path in (data / "archive").rglob("000001.dcm"):
        path.write_bytes(b"not a file" * 20)

    while fill(index, DirectoryStore(data)):
        pass

    filled = everything(index)
    index.close()
    assert len(filled["instance_content"]) == 8
    assert len(filled["study_key"]) == 2


def test_what_came_meanwhile_is_not_filed_twice(data: Path):
    index = Index.open(hub_config(data))
    before = everything(index)
    with index.write() as connection:
        newest = connection.execute(select(func.max(study.c.id))).scalar_one()
        connection.execute(update(tables.attribute_backfill).values(study_id=newest, instance_id=0))

    assert fill(index, DirectoryStore(data)) == 0
    assert everything(index) == before
    index.close()


def test_a_new_hub_has_nothing_to_fill(tmp_path: Path):
    index = Index.open(hub_config(tmp_path / "hub"))
    assert fill(index, DirectoryStore(tmp_path / "hub")) == 0
    index.close()


def test_what_is_found_by_a_hub_is_what_its_site_sent(hub: RunningHub, tmp_path: Path):
    assert hub.client().send(tiny_parcel(tmp_path / "work", 4, range(2), space="701", side=32))["verdict"] == "verified"
    index = Index.open(hub.config)
    (row,) = everything(index)["study_key"]
    index.close()
    assert "2.25.701.4" in row
    assert "\\OT\\" in row
