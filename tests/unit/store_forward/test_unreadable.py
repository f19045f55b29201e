"""Which errors mean that a parcel's file is gone, and that a reason is said once."""

from __future__ import annotations

import errno
import json

import pytest

from appliance import logs
from appliance.store_forward.unreadable import Unreadable, is_gone


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM])
def test_what_may_pass_is_waited_for(number: int) -> None:
    assert not is_gone(OSError(number, ""))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP])
def test_a_file_that_is_not_there_is_gone(number: int) -> None:
    assert is_gone(OSError(number, ""))


def test_a_reason_is_said_once_and_stays_until_all_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("forward")
    unreadable = Unreadable()
    for number in (errno.EIO, errno.EIO, errno.EACCES):
        unreadable.note(7, OSError(number, "of /srv/parcels/Zebrafink"))
    unreadable.note(8, OSError(errno.EMFILE, ""))
    assert unreadable.reason == "Permission denied"
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["parcel"], line["reason"]) for line in said] == [
        (7, "Input/output error"),
        (8, "Too many open files"),
    ]
    unreadable.forget(7)
    assert (len(unreadable), unreadable.reason) == (1, "Too many open files")
    unreadable.forget(8)
    unreadable.forget(8)
    assert not unreadable
    assert unreadable.reason == ""
