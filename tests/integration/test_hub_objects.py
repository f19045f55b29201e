"""What every object store does, and what those over a network do besides: killed, full, distrustful."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.s3_server import BUCKET, KINDS, PREFIX, S3Server, s3_server
from support.small_disk import SmallDisk

import appliance.hub.objects.bucket as bucket_module
from appliance.errors import DamagedFileError, StoreError, StoreRefusedError
from appliance.hub.objects.bucket import Bucket
from appliance.hub.objects.client import make_client
from appliance.hub.objects.directory import DirectoryStore
from appliance.hub.objects.keys import key_of
from appliance.hub.objects.s3 import S3Store
from appliance.hub.objects.store import PIECE_BYTES, ObjectExistsError, Store

MIB = 1 << 20
NAME = "0123456789abcdef" * 2
OTHER = "f" * 32


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server("moto", tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture(params=["directory", *KINDS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "directory":
        yield DirectoryStore(tmp_path / "root")
        return
    with s3_server(request.param, tmp_path / "server") as running:
        over_network = running.store()
        yield over_network
        over_network.close()


def a_file(directory: Path, content: bytes = b"abc", name: str = "f") -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def written(directory: Path, but: str) -> bool:
    """Whether a file there has bytes, beside the one of that name and the hub's mark."""
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.name not in {but, "appliance-hub"} and path.is_file() and path.stat().st_size:
                return True
    return False


def whole(store: Store, key: str) -> bytes:
    return b"".join(store.read(key))


# What both do


def test_an_object_comes_back_whole_in_pieces_in_ranges_and_as_a_file(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    content = os.urandom(3 * MIB + 17)
    key = key_of(NAME, 7, "dcm")
    store.check()
    store.put([(key, a_file(tmp_path, content))])
    pieces = list(store.read(key))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= PIECE_BYTES
    last = len(content)
    for start, end in ((0, 1), (5, 5), (MIB - 1, MIB + 1), (last - 3, None), (last, None), (9, 1 << 40)):
        assert b"".join(store.read(key, start, end)) == content[start:end], (start, end)
    store.fetch(key, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    with store.open(key) as file:
        assert file.read(100) == content[:100]
        assert file.seek(-5, os.SEEK_END) == len(content) - 5
        assert file.read() == content[-5:]
        assert file.read(1) == b""
        file.seek(2 * MIB)
        assert file.read(10) == content[2 * MIB :][:10]
        file.seek(0)
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(content).digest()


def test_an_empty_object_is_an_object(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    key = key_of(NAME, 0, "recipe")
    store.put([(key, a_file(tmp_path, b""))])
    assert whole(store, key) == b""
    with store.open(key) as file:
        assert file.read() == b""


def test_the_same_bytes_may_be_put_again_and_other_bytes_never_replace_them(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    key = key_of(NAME, 0, "dcm")
    for _ in range(2):
        store.put([(key, a_file(tmp_path, b"first"))])
    for other in (b"second", b"first and more", b"fir", b"", b"fIrst"):
        with pytest.raises(ObjectExistsError, match="other bytes"):
            store.put([(key, a_file(tmp_path, other))])
        assert whole(store, key) == b"first"


def test_of_many_that_put_one_key_at_once_one_wins_and_the_others_hear_it(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    key, outcomes, barrier = key_of(NAME, 0, "dcm"), [], threading.Barrier(6)
    store.check()

    def put(number: int) -> None:
        file = a_file(tmp_path, f"number {number}".encode(), f"file-{number}")
        barrier.wait()
        try:
            store.put([(key, file)])
            outcomes.append(number)
        except ObjectExistsError:
            outcomes.append(None)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for number in outcomes if number is not None]
    assert len(outcomes) == 6
    assert len(winners) == 1
    assert whole(store, key) == f"number {winners[0]}".encode()


def test_what_is_not_there_is_damage_with_what_to_do(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    key = key_of(NAME, 0, "dcm")
    for use in (lambda: store.open(key), lambda: whole(store, key), lambda: store.fetch(key, tmp_path / "copy")):
        with pytest.raises(DamagedFileError) as caught:
            use()
        assert "send the study again" in caught.value.hint
    assert not (tmp_path / "copy").exists()


def test_deleting_takes_what_is_named_and_passes_over_what_is_gone(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    keys = [key_of(NAME, number, "dcm") for number in range(3)]
    store.put([(key, a_file(tmp_path, name=str(at))) for at, key in enumerate(keys[:2])])
    store.delete([keys[0], keys[2]])
    assert whole(store, keys[1]) == b"abc"
    with pytest.raises(DamagedFileError):
        store.open(keys[0])


def test_discarding_a_parcel_takes_its_objects_and_no_others(store: Store, tmp_path: Path):
    (tmp_path / "root").mkdir()
    mine, other = [key_of(NAME, number, "dcm") for number in range(2)], key_of(OTHER, 1, "dcm")
    store.put([(key, a_file(tmp_path, name=str(at))) for at, key in enumerate([*mine, other])])
    store.discard(NAME)
    store.discard(NAME)
    for key in mine:
        with pytest.raises(DamagedFileError):
            store.open(key)
    assert whole(store, other) == b"abc"


@pytest.mark.parametrize("key", ["../hub.db", "/etc/passwd", f"archive/01/{NAME}/000001.dcm\n"])
def test_a_key_that_is_not_ours_is_refused(store: Store, tmp_path: Path, key: str):
    for use in (lambda: store.open(key), lambda: store.delete([key]), lambda: store.put([(key, a_file(tmp_path))])):
        with pytest.raises(DamagedFileError):
            use()


# What an S3 server does to it


def test_a_large_object_goes_in_parts_and_its_bytes_are_never_in_memory_at_once(server: S3Server, tmp_path: Path):
    store, key, size = server.store(), key_of(NAME, 1, "dcm"), 160 * MIB
    large = tmp_path / "large"
    with large.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    store.check()
    tracemalloc.start()
    store.put([(key, large)])
    digest = hashlib.sha256()
    for piece in store.read(key):
        digest.update(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    with large.open("rb") as file:
        assert digest.digest() == hashlib.file_digest(file, "sha256").digest()
    assert peak < 48 * MIB
    store.put([(key, large)])  # a second try finds it
    with large.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    with pytest.raises(ObjectExistsError):
        store.put([(key, large)])


def test_a_torn_upload_is_no_object_and_the_next_try_takes_it_away(
    moto: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bucket_module, "SINGLE_MAX", MIB)
    monkeypatch.setattr("appliance.hub.objects.s3.SINGLE_MAX", MIB)
    store, client, key = moto.store(), moto.client(), key_of(NAME, 2, "dcm")
    torn = client.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}/{key}")
    client.upload_part(Bucket=BUCKET, Key=f"{PREFIX}/{key}", UploadId=torn["UploadId"], PartNumber=1, Body=b"x" * 9)
    with pytest.raises(DamagedFileError):
        store.open(key)
    content = os.urandom(5 * MIB)
    store.put([(key, a_file(tmp_path, content))])
    assert whole(store, key) == content
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    client.create_multipart_upload(Bucket=BUCKET, Key=f"{PREFIX}/{key_of(NAME, 3, 'dcm')}")
    store.discard(NAME)
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


@pytest.mark.parametrize("size", [3 * MIB, 200 * MIB], ids=["one request", "parts"])
def test_a_server_that_is_killed_in_the_middle_of_a_put_has_all_of_it_or_nothing(tmp_path: Path, size: int):
    with s3_server("localbucket", tmp_path / "server") as server:
        store, kept, key = server.store(), key_of(NAME, 0, "dcm"), key_of(NAME, 1, "dcm")
        store.put([(kept, a_file(tmp_path, b"kept"))])
        large = tmp_path / "large"
        large.write_bytes(os.urandom(MIB) * (size // MIB))
        outcome: list[Exception | None] = []

        def put() -> None:
            try:
                store.put([(key, large)])
                outcome.append(None)
            except StoreError as error:
                outcome.append(error)

        putting = threading.Thread(target=put)
        putting.start()
        while putting.is_alive() and not written(tmp_path / "server" / "objects", but="000000.dcm"):
            pass
        server.kill()
        putting.join()
        assert outcome
        assert large.stat().st_size == size
        server.start()
        if outcome[0] is not None:
            with pytest.raises(DamagedFileError):
                store.open(key)
        store.put([(key, large)])
        assert hashlib.sha256(whole(store, key)).digest() == hashlib.sha256(large.read_bytes()).digest()
        assert whole(store, kept) == b"kept"


def test_a_read_goes_on_at_the_byte_when_the_server_was_killed_meanwhile(tmp_path: Path):
    with s3_server("localbucket", tmp_path / "server") as server:
        store, key = server.store(), key_of(NAME, 4, "dcm")
        content = os.urandom(MIB) * 63 + os.urandom(MIB)  # more than the sockets hold
        store.put([(key, a_file(tmp_path, content))])
        reading = store.read(key)
        got = [next(reading)]
        server.kill()
        server.start()
        got += reading
        assert b"".join(got) == content


def test_a_server_that_is_away_is_said_and_what_was_to_be_put_stays(tmp_path: Path):
    with s3_server("localbucket", tmp_path / "server") as server:
        store, file = server.store(), a_file(tmp_path)
        server.kill()
        for use in (
            store.check,
            lambda: store.put([(key_of(NAME, 0, "dcm"), file)]),
            lambda: store.open(key_of(NAME, 0, "dcm")),
            lambda: store.delete([key_of(NAME, 0, "dcm")]),
            lambda: store.discard(NAME),
        ):
            with pytest.raises(StoreError, match="can't be reached"):
                use()
        assert file.read_bytes() == b"abc"


def test_wrong_keys_are_refused_and_no_word_of_them_is_in_the_error(tmp_path: Path):
    with s3_server("moto", tmp_path / "server") as server:
        server.demand_proof()
        server.store().check()
        for keys in ((server.keys[0], "wrong-secret-key"), ("AKIAUNKNOWN000000000", server.keys[1])):
            store = S3Store(make_client(server.objects(keys)), BUCKET, PREFIX)
            with pytest.raises(StoreRefusedError) as caught:
                store.put([(key_of(NAME, 0, "dcm"), a_file(tmp_path))])
            assert not any(word in caught.value.message + caught.value.hint for word in keys)
            assert "key_file" in caught.value.hint


def test_a_server_that_overwrites_is_not_used(server: S3Server, tmp_path: Path):
    client = server.client()

    def careless(request: Any, **_: Any) -> None:
        del request.headers["If-None-Match"]

    client.meta.events.register("before-sign.s3.PutObject", careless)
    with pytest.raises(StoreRefusedError, match="overwrites"):
        S3Store(client, BUCKET, PREFIX).put([(key_of(NAME, 5, "dcm"), a_file(tmp_path))])
    assert f"{PREFIX}/{key_of(NAME, 5, 'dcm')}" not in server.names()


def test_a_bucket_that_is_not_there_is_refused_and_is_no_damage(moto: S3Server, tmp_path: Path):
    store = S3Store(moto.client(), "another", PREFIX)
    for use in (store.check, lambda: store.open(key_of(NAME, 0, "dcm"))):
        with pytest.raises(StoreRefusedError, match="NoSuchBucket"):
            use()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n<?xml version='1.0'?><Initiate",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n<html>Log in</html>\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<<<&&&>>>",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
    ],
)
def test_half_an_answer_or_one_of_somebody_else_is_a_fault(tmp_path: Path, answer: bytes):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(65 * MIB)
    with answering(answer) as port:
        server = S3Server("nobody", tmp_path, port)
        bucket = Bucket(server.client(), BUCKET)
        for use in (
            lambda: bucket.create("large", large),
            lambda: bucket.create("small", a_file(tmp_path)),
            lambda: bucket.create_small("mark", b"mark"),
            lambda: b"".join(bucket.read("large")),
            lambda: bucket.window("large", 0, 9),
        ):
            with pytest.raises((StoreError, StoreRefusedError)):
                use()


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A listener that reads the head of a request, says this, and closes. Gives its port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.needs_root
def test_a_server_without_room_keeps_what_it_had_and_takes_more_when_there_is_some(tmp_path: Path):
    with (
        SmallDisk(tmp_path / "server" / "objects", 8 * MIB) as disk,
        s3_server("localbucket", tmp_path / "server") as server,
    ):
        store, kept, key = server.store(), key_of(NAME, 0, "dcm"), key_of(NAME, 1, "dcm")
        store.put([(kept, a_file(tmp_path, b"kept"))])
        disk.fill(leave=64 << 10)
        file = a_file(tmp_path, os.urandom(2 * MIB))
        with pytest.raises(StoreError):
            store.put([(key, file)])
        assert whole(store, kept) == b"kept"
        with pytest.raises(DamagedFileError):
            store.open(key)
        disk.make_room()
        store.put([(key, file)])
        assert whole(store, key) == file.read_bytes()
