"""What is worth a try, in the order of the peer's wishes."""

from __future__ import annotations

from appliance.hub.renditions.targets import to_make
from appliance.part10.transfer_syntax import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG_2000_LOSSLESS

RLE = "1.2.840.10008.1.2.5"


def test_the_order_is_that_of_the_peer() -> None:
    wanted = [IMPLICIT_LITTLE, JPEG_2000_LOSSLESS, EXPLICIT_LITTLE]
    assert to_make(RLE, RLE, wanted) == wanted


def test_what_nobody_here_writes_is_left_out() -> None:
    assert to_make(EXPLICIT_LITTLE, EXPLICIT_LITTLE, [RLE, EXPLICIT_BIG, IMPLICIT_LITTLE]) == [IMPLICIT_LITTLE]


def test_what_the_archive_turned_into_jpeg_2000_can_be_had_as_it_was_received() -> None:
    assert to_make(JPEG_2000_LOSSLESS, EXPLICIT_BIG, [EXPLICIT_BIG]) == [EXPLICIT_BIG]


def test_nothing_is_tried_twice() -> None:
    assert to_make(RLE, RLE, [EXPLICIT_LITTLE, EXPLICIT_LITTLE]) == [EXPLICIT_LITTLE]
