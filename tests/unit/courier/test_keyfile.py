"""The file with secret keys for sticks."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.courier import cipher, keyfile
from appliance.courier.faults import CourierKeyError


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "courier.key"
    keys = keyfile.keys_of(path)
    assert keyfile.keys_of(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["courier.key"]


def test_another_key_is_used_from_now_on_and_the_old_one_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "courier.key"
    before = keyfile.keys_of(path)
    public = keyfile.add_key(path)
    keys = keyfile.read_keys(path)
    assert keys[1:] == before
    assert cipher.public_of(keys[0]) == public
    sealed = cipher.encrypt_bytes(b"an old stick", cipher.public_of(before[0]))
    assert cipher.decrypt_bytes(sealed, keys) == b"an old stick"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "courier.key"
    keyfile.keys_of(path)
    path.chmod(0o640)
    with pytest.raises(CourierKeyError, match="by others") as refused:
        keyfile.keys_of(path)
    assert "chmod 600" in refused.value.hint


def test_a_file_without_a_key_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "courier.key"
    path.write_text("something else\n")
    path.chmod(0o600)
    with pytest.raises(CourierKeyError, match="no key in it"):
        keyfile.keys_of(path)
    assert path.read_text() == "something else\n"
