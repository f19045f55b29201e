"""Instances filed in an index without a hub: header in, rows out, by the same `Filing` that a parcel goes through."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from support.hub import hub_config

from appliance.hub.index import kept, parcels, sites
from appliance.hub.index.database import Index
from appliance.hub.index.instances import Archived, Filing, Stored
from appliance.hub.index.parcels import Opening
from appliance.hub.index.uptime import Moment
from appliance.hub.objects.keys import key_of
from appliance.part10.attributes import read_attributes
from appliance.part10.identity import read_identity
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE


def new_index(data: Path, *site_ids: str) -> Index:
    """An empty index with these sites."""
    index = Index.open(hub_config(data))
    with index.write() as connection:
        for site in site_ids or ("a", "b"):
            sites.add(connection, site, site, bytes(32), 0)
    return index


def header(study: int = 1, series: int = 1, number: int = 1, **values: Any) -> Dataset:
    """A header with UIDs `1.2.STUDY`, `1.2.STUDY.SERIES`, `1.2.STUDY.SERIES.NUMBER`; `values` by keyword."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = f"1.2.{study}.{series}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.{study}", f"1.2.{study}.{series}"
    dataset.Modality, dataset.InstanceNumber, dataset.SeriesNumber = "CT", str(number), str(series)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """In explicit VR little endian, without file meta."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return stream.getvalue()


def archived(data: bytes, position: int, parcel: str) -> Archived:
    """As ingest prepares a data set for the index."""
    return Archived(
        identity=read_identity(io.BytesIO(data), EXPLICIT_LITTLE, len(data)),
        transfer_syntax_uid=EXPLICIT_LITTLE,
        digest=hashlib.sha256(data).digest(),
        size=len(data),
        calling_ae="CT1",
        received_at=500,
        stored=Stored("as-received", key_of(parcel, position, "dcm"), bytes(32), len(data) + 400),
        header=read_attributes(io.BytesIO(data), EXPLICIT_LITTLE, len(data), kept.EVERY, kept.LAST),
    )


def file(index: Index, site: str, *datasets: Dataset | bytes, now: int = 9_000) -> None:
    """Files them as one parcel of the site."""
    raw = [one if isinstance(one, bytes) else encoded(one) for one in datasets]
    digest = hashlib.sha256(site.encode() + b"".join(raw) + str(now).encode()).digest()
    name = digest.hex()[:32]
    file_as(index, site, name, digest, [archived(data, number, name) for number, data in enumerate(raw)], now)


def file_as(index: Index, site: str, name: str, digest: bytes, items: Sequence[Archived], now: int) -> None:
    """Files prepared instances as the parcel of this name."""
    with index.write() as connection:
        parcels.create(connection, site, digest, Opening(name, 1, 2, "", Moment(at=1_000, up=100)))
        parcels.set_offset(connection, name, 1, Moment(at=2_000, up=200))
        parcel = parcels.find(connection, site, name)
        assert parcel
        filing = Filing(connection, site_id=site, parcel_id=parcel.id, priority=parcel.priority, now=now)
        for position, item in enumerate(items):
            filing.file(position, item)
        assert parcels.verify(connection, parcel.id, now)
