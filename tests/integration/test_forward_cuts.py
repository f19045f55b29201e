"""The connection is cut at every kind of byte of an upload; nothing is lost, and nothing that is durable goes twice."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.fault_proxy import Fault, FaultProxy
from support.hub import RunningHub, hub_config, running_hub
from support.recording_proxy import RecordingProxy
from support.sending_unit import Packed, SendingUnit, noise

from appliance.compress.parcel import MAGIC
from appliance.compress.pool import WorkerPool
from appliance.config import Compress
from appliance.store_forward.forward import REPORT_SECONDS

SIZE = 300_000
_studies = itertools.count(1)


@dataclass
class Line:
    """A unit that sends all the time, a hub, and between them a bad line and a witness."""

    unit: SendingUnit
    hub: RunningHub
    proxy: FaultProxy
    witness: RecordingProxy
    pool: WorkerPool

    def pack(self) -> Packed:
        """A parcel of a study of its own."""
        study = next(_studies)
        return self.unit.pack(study, [noise(study, 1, SIZE)], plain=True, pool=self.pool)

    def deliver(self, packed: Packed) -> dict[str, Any]:
        """Its row, when it has its receipts; nothing went twice but what was in flight at a cut."""
        parcel = self.unit.queue(packed)
        self.unit.await_value("delivered", "SELECT state FROM parcel WHERE id = ?", parcel)
        uid = packed.instances[0].sop_instance_uid
        assert len(self.hub.rows("SELECT * FROM instance WHERE sop_instance_uid = ?", uid)) == 1
        assert self.witness.seen.sent_again == []
        return self.unit.rows("SELECT * FROM parcel WHERE id = ?", parcel)[0]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    directory = tmp_path_factory.mktemp("cuts")
    with running_hub(hub_config(directory / "hub")) as hub, WorkerPool(Compress(parcel_bytes=64 << 20)) as pool:
        witness = RecordingProxy(hub.hub.port if hub.hub else 0)
        proxy = FaultProxy(witness.port)
        unit = SendingUnit(directory / "unit", proxy.url, hub.secret, {"stall_seconds": 1.0})
        with unit.forward():
            yield Line(unit, hub, proxy, witness, pool)
        proxy.close()
        witness.close()


HEAD_FAULTS = {
    "the request line of the POST": Fault("up", 7, b"POST /v1/uploads"),
    "the headers of the POST": Fault("up", 12, b"Authorization: Bearer", hard=True),
    "the metadata": Fault("up", 30, b"Upload-Metadata: parcel "),
    "the status line that opens the upload": Fault("down", 10, b"HTTP/1.1 201"),
    "the headers that open the upload": Fault("down", 20, b"Location: "),
    "the request line of the PATCH": Fault("up", 3, b"PATCH /v1/uploads"),
    "the headers of the PATCH": Fault("up", 9, b"Upload-Offset: "),
    "the size of the first chunk": Fault("up", 30, b"Transfer-Encoding: chunked\r\n\r\n", hard=True),
    "the status line of the answer": Fault("down", 5, b"HTTP/1.1 204"),
    "the headers of the answer": Fault("down", 40, b"HTTP/1.1 204"),
    "the question for the verdict": Fault("up", 20, b"GET /v1/parcels/"),
    "the headers of the verdict": Fault("down", -60, b'{"parcel":'),
    "the receipts": Fault("down", 30, b'"receipts":['),
}


@pytest.mark.parametrize("where", HEAD_FAULTS)
def test_a_cut_in_words_of_the_protocol_loses_nothing(line: Line, where: str) -> None:
    fault = line.proxy.lay(HEAD_FAULTS[where])
    row = line.deliver(line.pack())
    assert fault.sprung.is_set()
    assert row["refusals"] == 0


BODY_FAULTS = {
    "before the first byte": 0,
    "after the first byte": 1,
    "in the middle": SIZE // 2,
    "before the last byte": -1,
    "after the last byte": -2,
    "in the end mark": -6,
}


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("where", BODY_FAULTS)
def test_a_cut_in_the_body_goes_on_at_the_byte(line: Line, where: str, hard: bool) -> None:
    packed, after = line.pack(), BODY_FAULTS[where]
    end = packed.path.read_bytes()[-8:]
    fault = Fault("up", after, MAGIC, hard=hard) if after >= 0 else Fault("up", 6 - after, end, hard=hard)
    line.proxy.lay(fault)
    row = line.deliver(packed)
    assert fault.sprung.is_set()
    assert row["refusals"] == 0
    sent = "SELECT sent_bytes FROM parcel WHERE id = ?"
    line.unit.await_true(lambda: line.unit.value(sent, row["id"]) >= row["bytes"], "what was sent is counted")
    if not hard and after < -1:
        time.sleep(2 * REPORT_SECONDS)
        assert line.unit.value(sent, row["id"]) == row["bytes"], "all was durable, and something was sent again"
