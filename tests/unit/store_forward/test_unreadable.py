"""Which errors mean that a file is gone, that a reason is said once, and how long what can't be read rests."""

from __future__ import annotations

import errno
import json

import pytest

from appliance import logs
from appliance.compress.faults import is_gone
from appliance.store_forward.unreadable import Resting, Unreadable


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


def test_what_cannot_be_read_rests_longer_each_time_and_half_a_minute_at_most() -> None:
    resting, now = Resting(), 100.0
    for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        resting.note(7, OSError(errno.EIO, ""), now, chance=1.0)
        assert resting.at(now + seconds - 0.1) == [7]
        now += seconds
        assert resting.at(now) == []
    assert (list(resting.all), resting.reason) == ([7], "Input/output error")
    resting.forget([7, 8])
    assert (list(resting.all), resting.reason) == ([], "")
    resting.note(7, OSError(errno.EIO, ""), now, chance=1.0)
    assert resting.at(now + 1.0) == []  # it begins again


def test_so_many_may_rest_and_no_more_are_tried() -> None:
    resting = Resting()
    for instance in range(64):
        assert not resting.too_many
        resting.note(instance, OSError(errno.EACCES, ""), 0.0, chance=0.5)
    assert resting.too_many
    resting.forget([0])
    assert not resting.too_many
