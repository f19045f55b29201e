"""Parcels reach a real hub, and only its receipts make anything delivered."""

from __future__ import annotations

from pathlib import Path

from support.hub import hub_config, running_hub
from support.sending_unit import SendingUnit, noise


def test_a_study_is_delivered_and_the_queue_says_when(tmp_path: Path) -> None:
    with running_hub(hub_config(tmp_path / "hub")) as hub:
        unit = SendingUnit(tmp_path / "unit", hub.url, hub.secret)
        unit.add_parcel(1, [noise(1, n, 20_000) for n in range(3)])
        unit.add_parcel(1, [noise(1, n, 20_000) for n in range(3, 5)])
        with unit.forward():
            unit.await_delivered()
            unit.await_value(1, "SELECT count(*) FROM event WHERE kind = 'delivered_all'")
        assert len(hub.rows("SELECT * FROM instance")) == 5
    parcels = unit.rows("SELECT * FROM parcel")
    assert {p["state"] for p in parcels} == {"delivered"}
    assert all(p["sent_bytes"] == p["bytes"] == p["hub_offset"] == p["progress"] for p in parcels)
    assert all(p["built_at"] < p["opened_at"] <= p["uploaded_at"] <= p["delivered_at"] for p in parcels)
    study = unit.rows("SELECT * FROM study")[0]
    assert (study["delivered"], study["to_send"], study["to_send_bytes"]) == (5, 0, 0)
    assert study["whole_at"] is not None
    assert all(i["hub_held_at"] and i["delivered_at"] for i in unit.rows("SELECT * FROM instance"))
    events = [(e["kind"], e["count"]) for e in unit.rows("SELECT * FROM event ORDER BY id")]
    assert sorted(events) == [("delivered", 2), ("delivered", 3), ("delivered_all", 5)]
    link = unit.rows("SELECT * FROM link")[0]
    assert (link["up"], link["problem"], link["hub_name"]) == (1, "", "Hub")
    assert abs(link["clock_offset_ms"]) < 1000
    assert link["hub_seen_at"] is not None
