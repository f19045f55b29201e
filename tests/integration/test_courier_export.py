"""`appliance courier export`: what waits is on the stick, whole, for the hub alone; and a bad stick costs nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.courier import Courier
from support.processes import wait_for
from support.sending_unit import noise
from support.small_disk import SmallDisk

from appliance.courier import cipher, listing
from appliance.courier.seal import digest_of_secret
from appliance.hub.credentials import new_secret
from appliance.model.priority import Priority

SECRET, _ = new_secret("site-1")


@pytest.fixture
def courier(tmp_path: Path) -> Courier:
    return Courier(tmp_path, SECRET)


def carried(courier: Courier) -> dict[str, bytes]:
    """The parcels on the stick, as the hub reads them, by the name of their file."""
    return {path.stem: cipher.decrypt_bytes(path.read_bytes(), courier.hub_keys) for path in courier.files}


def listed(courier: Courier) -> tuple[listing.ListCover, listing.Contents]:
    content = (courier.site / "list").read_bytes()
    cover, body = listing.read_cover(content, site="site-1", secret_digest=digest_of_secret(SECRET))
    return cover, listing.read_contents(body, courier.hub_keys)


def fill(courier: Courier, parcels: int, size: int = 5_000) -> None:
    for number in range(parcels):
        courier.unit.add_parcel(number, [noise(number, 1, size)])


def test_what_waits_is_on_the_stick_most_urgent_first(courier: Courier) -> None:
    courier.unit.add_parcel(1, [noise(1, 1, 5_000)], priority=Priority.PRIOR)
    courier.unit.add_parcel(2, [noise(2, n, 5_000) for n in range(3)], priority=Priority.STAT)
    facts = courier.exported()
    assert (facts["waiting"], facts["written"], facts["on_stick"], facts["no_room"]) == (2, 2, 2, 0)
    assert carried(courier) == courier.waiting()
    cover, contents = listed(courier)
    assert [study.priority for study in contents.studies] == ["stat", "prior"]
    assert [file.parcel for file in cover.files] == [study.parcels[0] for study in contents.studies]
    assert courier.unit.value("SELECT count(*) FROM audit_event WHERE action = 'courier_export'") == 1
    assert courier.unit.value("SELECT exported_parcels FROM courier") == 2


def test_what_is_half_at_the_hub_goes_and_what_is_delivered_does_not(courier: Courier) -> None:
    fill(courier, 3)
    with courier.unit.database() as database:
        database.execute("UPDATE parcel SET state = 'open', hub_offset = 10 WHERE id = 1")
        database.execute("UPDATE parcel SET state = 'delivered' WHERE id = 2")
    assert courier.exported()["written"] == 2
    assert carried(courier) == courier.waiting()


def test_nothing_of_a_patient_is_on_the_stick_in_clear(courier: Courier) -> None:
    fill(courier, 2)
    with courier.unit.database() as database:
        database.execute("UPDATE study SET patient_name = 'Phiri^Mary', patient_id = 'PID-4711'")
    courier.exported()
    assert listed(courier)[1].studies[0].patient_name == "Phiri^Mary"
    everything = b"".join(path.read_bytes() for path in courier.stick.rglob("*") if path.is_file())
    names = " ".join(str(path) for path in courier.stick.rglob("*"))
    for text in ("Phiri", "PID-4711", "2.25.1.", "1.2.840"):
        assert text.encode() not in everything
        assert text not in names


def test_run_again_it_writes_only_what_is_missing(courier: Courier) -> None:
    fill(courier, 3)
    courier.exported()
    before = {path: path.stat().st_mtime_ns for path in courier.files}
    courier.unit.add_parcel(9, [noise(9, 1, 5_000)])
    facts = courier.exported()
    assert (facts["written"], facts["already"], facts["on_stick"]) == (1, 3, 4)
    assert before.items() <= {path: path.stat().st_mtime_ns for path in courier.files}.items()
    assert carried(courier) == courier.waiting()


def test_what_the_hub_has_meanwhile_leaves_the_stick_and_an_unknown_parcel_stays(courier: Courier) -> None:
    fill(courier, 2)
    courier.exported()
    with courier.unit.database() as database:
        database.execute("UPDATE parcel SET state = 'delivered' WHERE id = 1")
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("DELETE FROM parcel WHERE id = 2")  # as of a box that was replaced
    facts = courier.exported()
    assert (facts["removed"], facts["on_stick"]) == (1, 1)
    assert [file.parcel for file in listed(courier)[0].files] == [path.stem for path in courier.files]


def test_one_study_or_one_priority_may_be_chosen(courier: Courier) -> None:
    fill(courier, 2)
    courier.unit.add_parcel(7, [noise(7, 1, 5_000)], priority=Priority.URGENT)
    assert courier.exported("--study", "2.25.1.1")["on_stick"] == 1
    assert courier.exported("--priority", "urgent")["on_stick"] == 2  # what was chosen before stays
    unknown = courier.export("--study", "1.2.3")
    assert unknown.exit_code == 6


def test_a_dry_run_says_what_would_go_and_changes_nothing(courier: Courier) -> None:
    fill(courier, 2)
    facts = courier.exported("--dry-run")
    assert (facts["waiting"], facts["written"], facts["priorities"][0]["to_write"]) == (2, 0, 2)
    assert list(courier.stick.iterdir()) == []


def test_images_that_are_not_packed_yet_are_said(courier: Courier) -> None:
    fill(courier, 1)
    with courier.unit.database() as database:
        database.execute("UPDATE instance SET state = 'received'")
    done = courier.export()
    assert done.exit_code == 0
    assert "1 images" in done.stdout
    assert "wait to be packed" in done.stdout


def test_a_limit_of_bytes_is_kept_and_the_exit_code_says_that_some_is_left(courier: Courier) -> None:
    fill(courier, 3, size=20_000)
    size = max(len(parcel) for parcel in courier.waiting().values())
    facts = courier.exported("--max-bytes", str(2 * size), exit_code=1)
    assert (facts["written"], facts["no_room"]) == (2, 1)


def test_a_parcel_that_is_damaged_here_is_left_out(courier: Courier) -> None:
    fill(courier, 3)
    paths = [courier.unit.data / "parcels" / row["file"] for row in courier.unit.rows("SELECT file FROM parcel")]
    damaged = bytearray(paths[0].read_bytes())
    damaged[100] ^= 1
    paths[0].write_bytes(damaged)
    paths[1].unlink()
    facts = courier.exported(exit_code=1)
    assert (facts["written"], facts["unreadable"]) == (1, 2)
    assert list(carried(courier).values()) == [paths[2].read_bytes()]


def test_without_the_hubs_key_nothing_is_written(courier: Courier) -> None:
    fill(courier, 1)
    courier.write_config("")
    done = courier.export()
    assert done.exit_code == 2
    assert "E814" in done.stderr
    assert "appliance hub courier key" in done.stderr
    assert list(courier.stick.iterdir()) == []


def test_a_key_with_a_mistake_in_it_is_refused(courier: Courier) -> None:
    _, key = cipher.new_key()
    courier.write_config(key[:-4] + ("qqqq" if key[-4:] != "qqqq" else "pppp"))
    done = courier.export()
    assert done.exit_code == 2
    assert "check digits" in done.stderr


def test_another_key_than_the_hub_says_is_a_warning_and_the_pinned_one_is_used(courier: Courier) -> None:
    fill(courier, 1)
    _, other = cipher.new_key()
    with courier.unit.database() as database:
        database.execute("INSERT INTO courier (id, hub_key, hub_key_at) VALUES (1, ?, 1)", (other,))
    done = courier.export()
    assert done.exit_code == 0
    assert other in done.stderr
    assert carried(courier) == courier.waiting()


def test_a_stick_for_another_hub_or_of_another_secret_is_left_as_it_is(courier: Courier) -> None:
    fill(courier, 1)
    courier.exported()
    before = {path: path.read_bytes() for path in courier.stick.rglob("*") if path.is_file()}
    courier.write_config(cipher.new_key()[1])
    other_hub = courier.export()
    courier.write_config(cipher.public_of(courier.hub_keys[0]))
    courier.unit.secret_file.write_text(new_secret("site-1")[0])
    other_secret = courier.export()
    assert (other_hub.exit_code, other_secret.exit_code) == (4, 4)
    assert "another key" in other_hub.stderr
    assert "not sealed with the secret" in other_secret.stderr
    assert {path: path.read_bytes() for path in courier.stick.rglob("*") if path.is_file()} == before


def test_two_sites_share_a_stick_and_neither_touches_the_other(courier: Courier, tmp_path: Path) -> None:
    other = courier.stick / "appliance-courier" / "site-2"
    other.mkdir(parents=True)
    (other / "list").write_bytes(b"of site 2")
    fill(courier, 1)
    courier.exported()
    assert [path.name for path in other.iterdir()] == ["list"]
    assert (other / "list").read_bytes() == b"of site 2"


def test_the_boxs_own_disk_is_not_taken_for_a_stick(courier: Courier) -> None:
    fill(courier, 1)
    from support.courier import verb

    done = verb(courier.config, "courier", "export", courier.stick)
    assert done.exit_code == 2
    assert "is the stick mounted" in done.stderr
    assert list(courier.stick.iterdir()) == []


def test_a_file_that_changed_on_the_stick_is_found_by_the_next_run_and_written_by_the_one_after(
    courier: Courier,
) -> None:
    fill(courier, 2)
    courier.exported()
    path = courier.files[0]
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    done = courier.export()
    assert done.exit_code == 3
    assert "did not keep 1" in done.stderr
    assert courier.exported()["written"] == 1
    assert carried(courier) == courier.waiting()


def test_half_a_file_of_a_stick_that_was_torn_out_is_taken_away(courier: Courier) -> None:
    fill(courier, 1)
    courier.exported()
    half = courier.files[0].with_name(f"{'ab' * 32}.age.part")
    half.write_bytes(b"half")
    courier.exported()
    assert not half.exists()


@pytest.fixture
def small(courier: Courier) -> Iterator[SmallDisk]:
    with SmallDisk(courier.stick, 2 << 20) as disk:
        yield disk


@pytest.mark.needs_root
def test_a_stick_that_is_too_small_has_what_fits_most_urgent_first(courier: Courier, small: SmallDisk) -> None:
    for number in range(4):
        courier.unit.add_parcel(number, [noise(number, 1, 700_000)])
    courier.unit.add_parcel(9, [noise(9, 1, 700_000)], priority=Priority.STAT)
    facts = courier.exported(exit_code=1)
    assert (facts["written"], facts["no_room"]) == (2, 3)
    assert listed(courier)[1].studies[0].priority == "stat"
    assert set(carried(courier).items()) <= set(courier.waiting().items())


@pytest.mark.needs_root
def test_a_stick_that_is_filled_meanwhile_keeps_whole_parcels_and_a_list_of_them(
    courier: Courier, small: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        courier.unit.add_parcel(number, [noise(number, 1, 700_000)])
    from appliance.courier.stick import Stick

    write, written = Stick.write_parcel, []

    def fill_then_write(stick: Stick, digest: str, fill: object) -> None:
        if written:
            small.fill(leave=100_000)
        written.append(digest)
        write(stick, digest, fill)  # type: ignore[arg-type]

    monkeypatch.setattr(Stick, "write_parcel", fill_then_write)
    done = courier.export()
    assert done.exit_code == 3
    assert "E812" in done.stderr
    assert [file.parcel for file in listed(courier)[0].files] == written[:1]
    assert list(carried(courier)) == written[:1]
    assert not list(courier.stick.rglob("*.part"))
    monkeypatch.undo()
    small.make_room()
    assert courier.exported()["written"] == 1
    assert carried(courier) == courier.waiting()


def test_killed_at_any_moment_it_leaves_whole_files_and_the_next_run_adds_the_rest(courier: Courier) -> None:
    fill(courier, 16, size=300_000)
    command = [sys.executable, "-m", "appliance.cli", "--config", str(courier.config), "courier", "export"]
    for files in (1, 8):
        running = subprocess.Popen([*command, str(courier.stick), "--same-disk"], stdout=subprocess.DEVNULL)
        wait_for(lambda count=files: len(courier.files) >= count, "some files are written")
        running.send_signal(signal.SIGKILL)
        running.wait(10)
        waiting = courier.waiting()
        assert all(waiting[name] == data for name, data in carried(courier).items())
    there = len(courier.files)
    facts = courier.exported()
    assert (facts["already"], facts["written"]) == (there, 16 - there)
    assert carried(courier) == courier.waiting()


def test_the_words_say_what_is_on_the_stick(courier: Courier) -> None:
    fill(courier, 2)
    done = courier.export()
    assert "routine" in done.stdout
    assert "On the stick: 2 parcels" in done.stdout
    assert json.loads(courier.export("--json").stdout)["already"] == 2
    assert [path.name for path in courier.stick.iterdir()] == ["appliance-courier"]
