"""`appliance hub courier import`: what a stick brings goes the way of an upload, and its receipts come back."""

from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path

import pytest
from support.courier import Both, Courier, hub_file, told, verb
from support.hub import add_site, hub_config, running_hub
from support.sending_unit import noise
from support.small_disk import SmallDisk

from appliance.compress.pool import WorkerPool
from appliance.hub.courier import Importer, hub_runs
from appliance.hub.index.database import Index
from appliance.model.priority import Priority

pytestmark = pytest.mark.usefixtures("looking_often")


def test_what_the_stick_brings_is_verified_and_the_unit_learns_it_without_a_line(both: Both) -> None:
    both.fill(3)
    both.courier.exported()
    done = both.brought()
    assert (done["new"], done["verified"], done["receipts"], done["error"]) == (3, 3, 3, "")
    assert both.held() == 3
    taken = told(both.courier.receipts("--json"))
    assert (taken["delivered"], taken["instances"], taken["refused"]) == (3, 3, 0)
    assert both.unit.value("SELECT count(*) FROM instance WHERE state = 'delivered'") == 3
    assert both.unit.value("SELECT count(*) FROM parcel WHERE state = 'delivered' AND hub_offset = bytes") == 3
    assert both.unit.value("SELECT min(delivered = instances AND to_send = 0) FROM study") == 1
    assert both.courier.exported()["waiting"] == 0
    assert list((both.hub.data / "courier").iterdir()) == []
    actions = [row["action"] for row in both.hub.rows("SELECT action FROM audit_event ORDER BY id")]
    assert actions == ["hub.courier.import"]


def test_again_it_changes_nothing(both: Both) -> None:
    both.fill(2)
    both.courier.exported()
    both.brought()
    again = both.brought()
    assert (again["new"], again["known"], again["verified"], both.held()) == (0, 2, 2, 2)
    assert both.courier.receipts().exit_code == 0
    taken = told(both.courier.receipts("--json"))
    assert (taken["delivered"], taken["known"]) == (0, 2)
    assert both.unit.value("SELECT count(*) FROM event WHERE kind = 'delivered'") == 2


def test_a_stat_study_is_checked_first(both: Both) -> None:
    both.fill(1)
    both.unit.add_parcel(5, [noise(5, 1, 5_000)], priority=Priority.STAT, pool=both.pool)
    both.courier.exported()
    both.brought()
    rows = both.hub.rows("SELECT priority FROM parcel ORDER BY id")
    assert [row["priority"] for row in rows] == [int(Priority.STAT), int(Priority.ROUTINE)]


def test_a_stick_for_the_hubs_old_key_is_still_read(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    assert verb(both.hub_toml, "hub", "courier", "key", "--new").exit_code == 0
    assert both.brought()["verified"] == 1


def test_a_refused_parcel_is_listed_with_why_and_the_unit_packs_it_anew(both: Both) -> None:
    both.fill(1)
    parcels = both.unit.data / "parcels"
    number = both.unit.add_parcel(7, [noise(7, 1, 5_000)], pool=both.pool)
    row = both.unit.rows("SELECT file FROM parcel WHERE id = ?", number)[0]
    content = bytearray((parcels / row["file"]).read_bytes())
    content[8] = 99  # another version of the format
    content[-32:] = hashlib.sha256(content[:-32]).digest()
    (parcels / row["file"]).write_bytes(content)
    with both.unit.database() as database:
        digest = hashlib.sha256(content).digest()
        database.execute("UPDATE parcel SET digest = ? WHERE id = ?", (digest, number))
    both.courier.exported()
    done = both.brought(exit_code=4)
    assert [(problem["parcel"], problem["refusal"]) for problem in done["refused"]] == [(digest.hex(), "format")]
    taken = told(both.courier.receipts("--json"))
    assert (taken["delivered"], taken["refused"]) == (1, 1)
    assert both.unit.value("SELECT state FROM parcel WHERE id = ?", number) == "refused"
    assert both.unit.value("SELECT count(*) FROM instance WHERE state = 'received'") == 1


def test_a_stick_that_can_not_be_written_is_taken_all_the_same(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    (both.courier.site / "receipts").mkdir()  # in the way of the file
    done = both.bring("--json")
    assert done.exit_code == 0
    assert "No receipts were written" in done.stderr
    assert both.held() == 1


def test_a_dry_run_shows_what_is_there_and_takes_nothing(both: Both) -> None:
    both.fill(2)
    with both.unit.database() as database:
        database.execute("UPDATE study SET patient_name = 'Phiri^Mary\x1b[31m'")
    both.courier.exported()
    done = both.bring("--dry-run")
    assert done.exit_code == 0
    assert "Phiri^Mary\N{REPLACEMENT CHARACTER}[31m" in done.stdout
    assert both.hub.rows("SELECT * FROM parcel") == []
    assert [row["action"] for row in both.hub.rows("SELECT action FROM audit_event")] == ["hub.courier.list"]
    assert not (both.courier.site / "receipts").exists()


def test_a_hub_that_does_not_run_checks_later(tmp_path: Path, pool: WorkerPool) -> None:
    config = hub_config(tmp_path / "hub")
    toml = hub_file(tmp_path / "hub.toml", tmp_path / "hub")
    secret = add_site(config)
    courier = Courier(tmp_path, secret, hub_data=tmp_path / "hub")
    courier.unit.add_parcel(1, [noise(1, 1, 5_000)], pool=pool)
    courier.exported()
    assert not hub_runs(config)
    done = verb(toml, "hub", "courier", "import", courier.stick)
    assert done.exit_code == 1
    assert "the hub does not run" in done.stdout
    with running_hub(config, secret) as hub:
        assert hub_runs(config)
        both = Both(hub, courier, toml, pool)
        assert both.brought()["verified"] == 1


def test_an_import_that_is_killed_leaves_nothing_half_and_goes_on(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    both.fill(3)
    both.courier.exported()

    class KilledError(BaseException):
        """Nothing of ours runs after it."""

    rename, calls = Path.rename, []

    def kill(path: Path, to: Path) -> Path:
        if path.parent.name == "courier":
            calls.append(path)
            if len(calls) == 2:
                shutil.copy2(path, path.with_name("left"))
                rename(path, to)
                raise KilledError
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", kill)
    with pytest.raises(KilledError):
        both.bring()
    monkeypatch.undo()
    assert both.brought()["verified"] == 3
    assert both.held() == 3
    assert list((both.hub.data / "courier").iterdir()) == []


def test_without_a_key_the_import_says_how_to_make_one(tmp_path: Path) -> None:
    toml = hub_file(tmp_path / "hub.toml", tmp_path / "hub")
    done = verb(toml, "hub", "courier", "import", tmp_path)
    assert done.exit_code == 2
    assert "appliance hub courier key" in done.stderr
    made = verb(toml, "hub", "courier", "key", "--json")
    key = told(made)["hub_key"]
    assert verb(toml, "hub", "courier", "key").stdout.strip() == key
    assert (tmp_path / "hub" / "courier.key").stat().st_mode & 0o777 == 0o600
    done = verb(toml, "hub", "courier", "import", tmp_path)
    assert done.exit_code == 4
    assert "E813" in done.stderr


@pytest.mark.needs_root
def test_a_hub_without_room_takes_what_it_can_and_says_so(tmp_path: Path, pool: WorkerPool) -> None:
    with SmallDisk(tmp_path / "hub", 200 << 20) as disk:
        toml = hub_file(tmp_path / "hub.toml", tmp_path / "hub")
        with running_hub(hub_config(tmp_path / "hub")) as hub:
            both = Both(hub, Courier(tmp_path, hub.secret, hub.url, hub.data), toml, pool)
            both.fill(2, size=400_000)
            both.courier.exported()
            disk.fill(leave=(1 << 20) + 200_000)
            assert both.brought("--wait", "0", exit_code=1)["no_room"] == 2
            disk.make_room()
            assert both.brought()["verified"] == 2


def test_two_imports_at_once_wait_for_each_other_in_words(both: Both) -> None:
    both.fill(1)
    both.courier.exported()
    index = Index.open(both.hub.config)
    started, over = threading.Event(), threading.Event()

    def hold() -> None:
        with Importer(both.hub.config, index, []).alone():
            started.set()
            over.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait(10)
    done = both.bring()
    over.set()
    thread.join(10)
    index.close()
    assert done.exit_code == 3
    assert "Another import" in done.stderr
