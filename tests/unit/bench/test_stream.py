"""The tap of the link bench counts to the byte what left twice: by TCP, and by an upload that was sent again."""

from __future__ import annotations

from harness.stream import Connection, Uploads


def patch(target: str, offset: int, *chunks: bytes, whole: bool = True) -> bytes:
    head = f"PATCH {target} HTTP/1.1\r\nHost: hub\r\nUpload-Offset: {offset}\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head.encode() + body + (b"0\r\n\r\n" if whole else b"")


def connection(uploads: Uploads, data: bytes, *, first: int = 1, piece: int = 7) -> Connection:
    """One that sends `data` in small packets."""
    made = Connection(first, uploads)
    for at in range(0, len(data), piece):
        made.take((first + at) % 2**32, data[at : at + piece])
    return made


def test_bodies_are_counted_without_their_framing_over_any_cut_into_packets() -> None:
    data = (
        patch("/a", 0, b"x" * 300, b"y" * 20) + b"GET /hello HTTP/1.1\r\n\r\n" + patch("/b", 50, b"\r\n0\r\n\r\n" * 9)
    )
    for piece in (1, 2, 7, 1368):
        uploads = Uploads()
        made = connection(uploads, data, piece=piece)
        assert uploads.totals() == (320 + 63, 0)
        assert (made.new, made.again) == (len(data), 0)


def test_a_request_with_a_length_is_read_too() -> None:
    uploads = Uploads()
    head = b"PATCH /a HTTP/1.1\r\nupload-offset: 5\r\ncontent-length: 10\r\n\r\n"
    connection(uploads, head + b"0123456789" + patch("/a", 15, b"abc"))
    assert uploads.totals() == (13, 0)


def test_what_a_later_request_sends_again_is_counted() -> None:
    uploads = Uploads()
    connection(uploads, patch("/a", 0, b"x" * 500, whole=False))
    connection(uploads, patch("/a", 400, b"x" * 300))
    assert uploads.totals() == (700, 100)


def test_what_tcp_sends_again_is_no_new_byte_also_where_its_numbers_start_over() -> None:
    uploads, first = Uploads(), 2**32 - 10
    data = patch("/a", 0, b"x" * 100)
    made = connection(uploads, data, first=first)
    made.take((first + len(data) - 30) % 2**32, data[-30:])
    made.take(first, data[:20])
    assert (made.new, made.again) == (len(data), 50)
    assert uploads.totals() == (100, 0)


def test_a_connection_that_speaks_no_http_is_counted_as_bytes_alone() -> None:
    uploads = Uploads()
    made = connection(uploads, b"\x01\x00\x00\x00\x00\xcd\r\n\r\n" * 100)
    assert made.new == 1000
    assert uploads.totals() == (0, 0)
