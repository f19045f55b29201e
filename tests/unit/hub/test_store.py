"""The archive's directory: objects are whole or not there, and no key leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DamagedFileError
from appliance.hub.store import DirectoryStore, key_of

NAME = "0123456789abcdef" * 2


def a_file(directory: Path, content: bytes = b"abc", name: str = "f") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def test_what_was_put_can_be_opened_and_fetched(tmp_path: Path):
    store = DirectoryStore(tmp_path)
    key = key_of(NAME, 7, "dcm")
    store.put([(key, a_file(tmp_path))])
    with store.open(key) as file:
        assert file.read() == b"abc"
    store.fetch(key, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"abc"
    assert key == f"archive/01/{NAME}/000007.dcm"


def test_putting_the_same_key_again_replaces_it_whole(tmp_path: Path):
    store = DirectoryStore(tmp_path)
    key = key_of(NAME, 0, "recipe")
    for content in (b"first", b"second"):
        store.put([(key, a_file(tmp_path, content))])
    with store.open(key) as file:
        assert file.read() == b"second"


def test_what_is_not_there_is_damage_with_what_to_do(tmp_path: Path):
    with pytest.raises(DamagedFileError) as caught:
        DirectoryStore(tmp_path).open(key_of(NAME, 0, "dcm"))
    assert "send the study again" in caught.value.hint


def test_deleting_takes_the_empty_directory_too_and_passes_over_what_is_gone(tmp_path: Path):
    store = DirectoryStore(tmp_path)
    keys = [key_of(NAME, number, "dcm") for number in range(3)]
    store.put([(key, a_file(tmp_path, name=str(at))) for at, key in enumerate(keys[:2])])
    store.delete(keys[:1])
    assert (tmp_path / keys[1]).exists()
    store.delete(keys)
    assert not (tmp_path / keys[0]).parent.exists()


def test_discarding_a_parcel_takes_its_objects_and_no_others(tmp_path: Path):
    store = DirectoryStore(tmp_path)
    mine, other = key_of(NAME, 1, "dcm"), key_of("f" * 32, 1, "dcm")
    store.put([(key, a_file(tmp_path, name=str(at))) for at, key in enumerate((mine, other))])
    store.discard(NAME)
    store.discard(NAME)
    assert not (tmp_path / mine).exists()
    assert (tmp_path / other).exists()


@pytest.mark.parametrize(
    "key",
    [
        "../hub.db",
        "archive/../../etc/passwd",
        "/etc/passwd",
        f"archive/01/{NAME}/../../../hub.db",
        f"archive/01/{NAME}/000001.dcm\n",
        f"archive/01/{NAME}/000001.db",
        "",
    ],
)
def test_a_key_that_is_not_ours_is_refused(tmp_path: Path, key: str):
    store = DirectoryStore(tmp_path)
    for use in (lambda: store.open(key), lambda: store.delete([key]), lambda: store.put([(key, a_file(tmp_path))])):
        with pytest.raises(DamagedFileError):
            use()


@given(st.text())
def test_no_key_however_hostile_is_opened_outside(key: str):
    with pytest.raises(DamagedFileError):
        DirectoryStore(Path("/nowhere")).open(key)
