"""The disk that the power cuts happen on keeps exactly what POSIX promises, and forgets the rest often enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.forgetful_disk import PAGE, ForgetfulDisk, PowerIsOffError

SEEDS = range(60)


def disk_with(path: str, data: bytes) -> ForgetfulDisk:
    disk = ForgetfulDisk()
    disk.write(disk.create(path, 0o600), data, 0)
    return disk


def after_cut(disk: ForgetfulDisk, seed: int) -> ForgetfulDisk:
    disk.off = True
    disk.power_on(seed)
    return disk


def exists(disk: ForgetfulDisk, path: str) -> bool:
    try:
        disk.find(path)
    except FileNotFoundError:
        return False
    return True


@given(st.integers(), st.binary(min_size=1, max_size=3 * PAGE))
def test_a_file_survives_when_it_and_its_directory_were_fsynced(seed: int, data: bytes) -> None:
    disk = disk_with("/a", data)
    disk.sync_file(disk.find("/a"))
    disk.sync_directory(disk.root)

    assert after_cut(disk, seed).find("/a").content == data


def test_a_file_that_was_fsynced_may_lose_its_name_with_its_directory_unsynced() -> None:
    def survives(seed: int) -> bool:
        disk = disk_with("/a", b"x")
        disk.sync_file(disk.find("/a"))
        return exists(after_cut(disk, seed), "/a")

    assert {survives(seed) for seed in SEEDS} == {True, False}


def test_a_directory_needs_fsync_of_its_parent() -> None:
    def survives(seed: int) -> bool:
        disk = ForgetfulDisk()
        disk.make_directory("/d", 0o700)
        disk.sync_file(disk.create("/d/a", 0o600))
        disk.sync_directory(disk.find("/d"))
        return exists(after_cut(disk, seed), "/d/a")

    assert {survives(seed) for seed in SEEDS} == {True, False}


def test_unsynced_bytes_survive_whole_in_part_as_zeros_or_not_at_all() -> None:
    found = set()
    for seed in SEEDS:
        disk = disk_with("/a", b"n" * 2 * PAGE)
        disk.sync_directory(disk.root)
        found.add(bytes(after_cut(disk, seed).find("/a").content))

    assert {b"", b"n" * 2 * PAGE} < found
    assert any(b"\0" in content and b"n" in content for content in found)


def test_bytes_written_over_synced_ones_are_old_or_new_and_never_zero() -> None:
    mixed = 0
    for seed in SEEDS:
        disk = disk_with("/a", b"o" * 2 * PAGE)
        disk.sync_file(disk.find("/a"))
        disk.sync_directory(disk.root)
        disk.write(disk.find("/a"), b"n" * 2 * PAGE, 0)
        content = set(bytes(after_cut(disk, seed).find("/a").content))
        assert content <= set(b"on")
        mixed += len(content) == 2
    assert mixed


def test_a_rename_survives_whole_or_not_at_all() -> None:
    seen = set()
    for seed in SEEDS:
        disk = disk_with("/a", b"x")
        disk.make_directory("/d", 0o700)
        disk.sync_directory(disk.root)
        disk.rename("/a", "/d/b")
        after_cut(disk, seed)
        seen.add((exists(disk, "/a"), exists(disk, "/d/b")))

    assert seen == {(True, False), (False, True)}


def test_fsync_of_the_directory_keeps_a_rename_and_never_brings_the_old_name_back() -> None:
    for seed in SEEDS:
        disk = disk_with("/a", b"x")
        disk.make_directory("/d", 0o700)
        disk.sync_directory(disk.root)
        disk.rename("/a", "/d/b")
        disk.sync_directory(disk.find("/d"))
        after_cut(disk, seed)
        assert (exists(disk, "/a"), exists(disk, "/d/b")) == (False, True)


def test_a_removed_file_may_come_back_until_the_directory_is_fsynced() -> None:
    def comes_back(seed: int, synced: bool) -> bool:
        disk = disk_with("/a", b"x")
        disk.sync_directory(disk.root)
        disk.remove("/a")
        if synced:
            disk.sync_directory(disk.root)
        return exists(after_cut(disk, seed), "/a")

    assert {comes_back(seed, False) for seed in SEEDS} == {True, False}
    assert not any(comes_back(seed, True) for seed in SEEDS)


def test_the_power_goes_at_the_call_that_was_chosen_and_stays_off() -> None:
    disk = ForgetfulDisk()
    disk.cut_at = 2
    inode = disk.create("/a", 0o600)
    with pytest.raises(PowerIsOffError):
        disk.write(inode, b"x", 0)
    with pytest.raises(PowerIsOffError):
        disk.find("/a")
    assert disk.cut_before == "write"


def test_the_same_seed_shows_the_same_disk() -> None:
    def found(seed: int) -> bytes:
        disk = disk_with("/a", bytes(range(256)) * 64)
        disk.sync_directory(disk.root)
        return bytes(after_cut(disk, seed).find("/a").content)

    assert [found(seed) for seed in SEEDS] == [found(seed) for seed in SEEDS]
