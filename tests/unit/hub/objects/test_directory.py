"""The archive's directory: objects are whole or not there, and no key leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import DamagedFileError
from appliance.hub.objects.directory import DirectoryStore
from appliance.hub.objects.keys import key_of

NAME = "0123456789abcdef" * 2


def a_file(directory: Path, content: bytes = b"abc", name: str = "f") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def test_what_was_put_is_taken_over_under_its_key(tmp_path: Path):
    store = DirectoryStore(tmp_path)
    key = key_of(NAME, 7, "dcm")
    file = a_file(tmp_path)
    store.put([(key, file)])
    assert not file.exists()
    assert (tmp_path / key).read_bytes() == b"abc"
    assert (tmp_path / key).stat().st_nlink == 1
    assert key == f"archive/01/{NAME}/000007.dcm"


def test_deleting_takes_the_empty_directory_too_and_passes_over_what_is_gone(tmp_path: Path):
    store = DirectoryStore(tmp_path)
    keys = [key_of(NAME, number, "dcm") for number in range(3)]
    store.put([(key, a_file(tmp_path, name=str(at))) for at, key in enumerate(keys[:2])])
    store.delete(keys[:1])
    assert (tmp_path / keys[1]).exists()
    store.delete(keys)
    assert not (tmp_path / keys[0]).parent.exists()


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
