"""Reads the stored headers of instances from before there were attributes, so that they are found too.

Resumable: a batch and how far it goes are one transaction. What comes meanwhile is filed with its attributes anyway.
"""

from __future__ import annotations

import asyncio
from typing import Final

from appliance.errors import ApplianceError, DamagedFileError, DicomError
from appliance.hub.index import kept, unfilled
from appliance.hub.index.attributes import Attributes, content_of, is_filed
from appliance.hub.index.database import Index
from appliance.hub.index.unfilled import Unfilled
from appliance.hub.objects.store import Store
from appliance.hub.parts import Parts
from appliance.logs import get_logger
from appliance.part10.attributes import Content, read_attributes
from appliance.part10.meta import read_prefix

_BATCH: Final = 50  # instances of a transaction: others wait for the write lock as long
_BREATH_SECONDS: Final = 0.02
_PAUSE_SECONDS: Final = 30.0

log = get_logger()


async def run(parts: Parts, store: Store) -> None:
    """Fills until all is filled, then returns."""
    count = 0
    while True:
        try:
            done = await parts.blocking(fill, parts.index, store)
        except (ApplianceError, OSError) as error:  # the disk or the index: both mend, or are seen elsewhere
            log.error("attributes can't be filled in", exception=type(error).__name__)
            await asyncio.sleep(_PAUSE_SECONDS)
            continue
        count += done
        if not done:
            break
        await asyncio.sleep(_BREATH_SECONDS)
    if count:
        log.info("attributes of all that was here are filled in", count=count)


def fill(index: Index, store: Store, batch: int = _BATCH) -> int:
    """Fills the next instances, and returns how many; 0 when there is none left. Blocking."""
    with index.read() as connection:
        if unfilled.is_done(connection):
            return 0
        found = unfilled.next_batch(connection, batch)
    headers = [_header(one, store) for one in found]
    with index.write() as connection:
        filing = Attributes(connection)
        for one, header in zip(found, headers, strict=True):
            if not is_filed(connection, one.id):
                content = content_of(one.identity, header)
                filing.file(one.study_id, one.series_id, one.id, content, same_patient=one.is_of_its_study(header))
        unfilled.note(connection, found[-1] if found else None)
    return len(found)


def _header(one: Unfilled, store: Store) -> Content:
    """What the stored file says; nothing when it is damaged: then what the index knew must do."""
    try:
        with store.open(one.stored_key) as file:
            meta, offset = read_prefix(file)
            file.seek(offset)
            size = one.stored_bytes - offset
            return read_attributes(file, meta.transfer_syntax_uid, size, kept.EVERY, kept.LAST)
    except (DamagedFileError, DicomError):
        log.error("an archived image can't be read", instance=one.id, error_id=DamagedFileError.id)
        return {}
