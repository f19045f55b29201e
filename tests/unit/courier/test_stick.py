"""The directory on the stick: names of ours alone, whole files or none, and no way out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.courier.faults import StickError, StickRefusedError
from appliance.courier.stick import LIST, ROOT, Stick, sites_on

PARCEL = "ab" * 32


def fill(data: bytes) -> object:
    return lambda descriptor: os.write(descriptor, data)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    with Stick(tmp_path, "site-1", make=True) as stick:
        stick.write_parcel(PARCEL, fill(b"parcel"))  # type: ignore[arg-type]
        stick.write(LIST, b"list")
    return tmp_path / ROOT / "site-1"


def test_what_was_written_is_found_and_nothing_is_left_beside_it(made: Path, tmp_path: Path) -> None:
    with Stick(tmp_path, "site-1") as stick:
        assert stick.parcels() == {PARCEL: 6}
        assert stick.read(LIST, 100) == b"list"
    files = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    assert files == ["list", f"parcels/ab/{PARCEL}.age"]


def test_a_stick_without_this_site_has_nothing_of_it_and_is_not_changed(tmp_path: Path) -> None:
    with Stick(tmp_path, "site-1") as stick:
        assert (stick.parcels(), stick.read(LIST, 10)) == ({}, None)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_no_stick(tmp_path: Path) -> None:
    with pytest.raises(StickError):
        Stick(tmp_path / "no", "site-1", make=True)
    with pytest.raises(StickError):
        sites_on(tmp_path / "no")
    with pytest.raises(StickRefusedError, match=ROOT):
        sites_on(tmp_path)


def test_half_files_are_taken_away_and_never_listed(made: Path, tmp_path: Path) -> None:
    half = made / "parcels" / "ab" / f"{'ac' * 32}.age.part"
    half.write_bytes(b"half")
    with Stick(tmp_path, "site-1") as stick:
        assert list(stick.parcels()) == [PARCEL]
        stick.remove_parts()
    assert not half.exists()


def test_a_file_that_could_not_be_filled_does_not_appear(made: Path, tmp_path: Path) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with Stick(tmp_path, "site-1") as stick, pytest.raises(StickError, match="Input/output"):
        stick.write_parcel(PARCEL, fail)
    assert (made / "parcels" / "ab" / f"{PARCEL}.age").read_bytes() == b"parcel"
    assert len(list((made / "parcels" / "ab").iterdir())) == 1


def test_links_are_never_followed(made: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the stick")
    other = "ab" + "cd" * 31
    (made / "parcels" / "ab" / f"{other}.age").symlink_to(secret)
    (made / "parcels" / "cd").symlink_to(tmp_path)
    (made / "list").unlink()
    (made / "list").symlink_to(secret)
    with Stick(tmp_path, "site-1") as stick:
        assert list(stick.parcels()) == [PARCEL]
        with pytest.raises(OSError, match="symbolic"):
            stick.open_parcel(other)
        with pytest.raises(StickError):
            stick.read(LIST, 100)
        stick.write(LIST, b"new")  # takes the link's place
    assert secret.read_text() == "not for the stick"
    assert not (made / "list").is_symlink()


def test_a_link_in_place_of_a_directory_is_never_entered(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ROOT).mkdir()
    (tmp_path / ROOT / "site-1").symlink_to(elsewhere)
    assert sites_on(tmp_path) == ([], 1)
    with pytest.raises(StickError):
        Stick(tmp_path, "site-1", make=True)
    assert list(elsewhere.iterdir()) == []


def test_a_pipe_in_place_of_a_file_does_not_hold_us(made: Path, tmp_path: Path) -> None:
    (made / "list").unlink()
    os.mkfifo(made / "list")
    with Stick(tmp_path, "site-1") as stick, pytest.raises(StickError, match="no file"):
        stick.read(LIST, 100)


def test_odd_names_are_passed_over_and_counted(made: Path, tmp_path: Path) -> None:
    for name in ("UPPER", "a b", "-x", "x" * 33, "...", "\x1b[31m", "é"):
        (made.parent / name).mkdir()
    (made.parent / "file").write_text("x")
    for name in ("ab.age", PARCEL, "../x.age".replace("/", "_"), f"{'AB' * 32}.age"):
        (made / "parcels" / "ab" / name).write_text("x")
    assert sites_on(tmp_path) == (["site-1"], 8)
    with Stick(tmp_path, "site-1") as stick:
        assert list(stick.parcels()) == [PARCEL]


def test_what_is_too_long_is_not_read(made: Path, tmp_path: Path) -> None:
    with Stick(tmp_path, "site-1") as stick, pytest.raises(StickRefusedError, match="longer"):
        stick.read(LIST, 3)


def test_two_commands_do_not_write_to_one_stick(made: Path, tmp_path: Path) -> None:
    with Stick(tmp_path, "site-1") as first, Stick(tmp_path, "site-1") as second:
        first.lock()
        with pytest.raises(StickError, match="Another command"):
            second.lock()
