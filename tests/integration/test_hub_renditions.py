"""Instances given out in the form that the peer takes: made once, kept within a budget, never half, never damaged."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select
from support import data
from support.renditions import Archive

from appliance.compress.faults import PoolClosedError
from appliance.errors import DamagedFileError
from appliance.hub.index.studies import StoredInstance
from appliance.hub.objects.directory import DirectoryStore
from appliance.hub.renditions import rows
from appliance.hub.renditions.tables import rendition, rendition_spent
from appliance.hub.renditions.values import NotMadeError, Reason
from appliance.part10.transfer_syntax import EXPLICIT_LITTLE, IMPLICIT_LITTLE, JPEG_2000_LOSSLESS

RLE = "1.2.840.10008.1.2.5"


def example(name: str) -> bytes:
    return data.file(name).read_bytes()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "hub") as made:
        yield made


def states(archive: Archive) -> list[tuple[str, str]]:
    with archive.index.read() as connection:
        query = select(rendition.c.transfer_syntax_uid, rendition.c.state).order_by(rendition.c.transfer_syntax_uid)
        return [(row.transfer_syntax_uid, row.state) for row in connection.execute(query)]


def test_a_stored_form_that_the_peer_takes_is_given_byte_for_byte(archive: Archive) -> None:
    content = example("MR_small_RLE.dcm")
    one = archive.add(content)
    assert archive.get(one, EXPLICIT_LITTLE, RLE) == (RLE, content)
    assert states(archive) == []


def test_another_form_is_made_once_and_kept(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    first = archive.get(one, EXPLICIT_LITTLE)
    there = archive.objects()
    assert archive.get(one, EXPLICIT_LITTLE) == first
    assert archive.objects() == there
    assert len(there) == 2
    assert dcmread(io.BytesIO(first[1])).file_meta.TransferSyntaxUID == EXPLICIT_LITTLE


def test_a_kept_form_is_given_before_a_better_one_is_made(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    archive.get(one, IMPLICIT_LITTLE)
    assert archive.get(one, EXPLICIT_LITTLE, IMPLICIT_LITTLE)[0] == IMPLICIT_LITTLE


def test_when_the_best_form_cant_be_made_the_next_one_is(archive: Archive) -> None:
    one = archive.add(example("SC_rgb_rle_32bit.dcm"))
    assert archive.get(one, JPEG_2000_LOSSLESS, IMPLICIT_LITTLE)[0] == IMPLICIT_LITTLE
    assert states(archive) == [(IMPLICIT_LITTLE, "kept"), (JPEG_2000_LOSSLESS, "failed")]


def test_what_cant_be_made_is_the_failure_of_that_instance_alone_and_known_from_then_on(archive: Archive) -> None:
    bad, good = archive.add(example("JPEG-LL.dcm"), 1), archive.add(example("MR_small_RLE.dcm"), 2)
    for _ in range(2):
        with pytest.raises(NotMadeError) as refused:
            archive.get(bad, EXPLICIT_LITTLE)
        assert refused.value.reason is Reason.NO_DECODER
    assert archive.get(good, EXPLICIT_LITTLE)[0] == EXPLICIT_LITTLE


def test_a_peer_that_takes_nothing_that_can_be_made_is_refused(archive: Archive) -> None:
    one = archive.add(example("CT_small.dcm"))
    with pytest.raises(NotMadeError) as refused:
        archive.get(one, "1.2.840.10008.1.2.4.50")
    assert refused.value.reason is Reason.NO_SYNTAX


def test_what_the_archive_keeps_in_jpeg_2000_comes_back_with_the_bytes_of_the_modality(archive: Archive) -> None:
    content = example("CT_small.dcm")
    source = archive.data / "received.dcm"
    source.write_bytes(content)
    out = archive.data / "archived.dcm"
    recipe = archive.pool.transcode(source, out)
    assert recipe
    one = archive.add(out.read_bytes())
    (archive.data / "a.recipe").write_bytes(recipe)
    key = one.stored_key.replace(".dcm", ".recipe")
    archive.store.put([(key, archive.data / "a.recipe")])
    before = dcmread(io.BytesIO(content))
    digest = archive.pool.restore(out, recipe, archive.data / "proof.dcm")
    turned = StoredInstance(**{**_fields(one), "form": "jpeg2000", "recipe_key": key, "digest": digest,
                               "transfer_syntax_uid": EXPLICIT_LITTLE})  # fmt: skip
    assert archive.get(turned, JPEG_2000_LOSSLESS)[0] == JPEG_2000_LOSSLESS
    syntax, got = archive.get(turned, EXPLICIT_LITTLE)
    after = dcmread(io.BytesIO(got))
    assert (syntax, after.PixelData, after.PatientName) == (EXPLICIT_LITTLE, before.PixelData, before.PatientName)
    assert content.endswith(got[-1000:])
    assert dcmread(io.BytesIO(archive.get(turned, IMPLICIT_LITTLE)[1])).PixelData == before.PixelData


def _fields(one: StoredInstance) -> dict[str, object]:
    return {name: getattr(one, name) for name in StoredInstance.__struct_fields__}


def test_many_who_ask_at_once_wait_for_one(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    doors = [archive.renditions, archive.door(), archive.door()]  # two more, as if of other processes
    with ThreadPoolExecutor(9) as threads:
        asked = [threads.submit(archive.get, one, EXPLICIT_LITTLE, door=doors[n % 3]) for n in range(9)]
        answers = {each.result() for each in asked}
    for door in doors[1:]:
        door.close()
    assert len(answers) == 1
    assert len(archive.objects()) == 2
    with archive.index.read() as connection:
        assert connection.execute(select(rendition_spent)).all() == []  # nobody made a second one


def test_who_waits_for_one_that_fails_gets_its_reason(archive: Archive) -> None:
    one = archive.add(example("emri_small_jpeg_2k_lossless_too_short.dcm"))

    def ask() -> Reason:
        with pytest.raises(NotMadeError) as refused:
            archive.get(one, EXPLICIT_LITTLE)
        return refused.value.reason

    with ThreadPoolExecutor(4) as threads:
        assert {each.result() for each in [threads.submit(ask) for _ in range(4)]} == {Reason.DAMAGED}


def test_the_lease_of_a_dead_process_ends_and_its_object_goes(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    with archive.index.write() as connection:
        dead = rows.take(connection, one.id, EXPLICIT_LITTLE, "dead", archive.now)
    assert isinstance(dead, rows.Lease)
    half = archive.data / "half"
    half.write_bytes(b"what it had put before it died")
    archive.store.put([(dead.key, half)])
    archive.now += rows.LEASE_MS
    assert archive.get(one, EXPLICIT_LITTLE)[0] == EXPLICIT_LITTLE
    archive.renditions.clean()
    assert dead.key not in archive.objects()
    assert len(archive.objects()) == 2


def test_those_used_longest_ago_go_when_the_budget_is_full(tmp_path: Path) -> None:
    contents = [example("MR_small_RLE.dcm")] * 3
    with Archive(tmp_path / "hub", renditions_bytes=2 * 9_800 + 500) as archive:
        stored = [archive.add(content, number) for number, content in enumerate(contents, 1)]
        for one in stored:
            archive.now += rows.USED_MS
            archive.get(one, EXPLICIT_LITTLE)
            if one is stored[1]:
                archive.now += rows.USED_MS
                archive.get(stored[0], EXPLICIT_LITTLE)  # so that the second is the one used longest ago
        with archive.index.read() as connection:
            ids = connection.execute(select(rendition.c.instance_id)).scalars().all()
            assert rows.kept_bytes(connection) <= archive.config.objects.renditions_bytes
        assert sorted(ids) == [stored[0].id, stored[2].id]
        assert len(archive.objects()) == 3 + 2


def test_one_larger_than_the_budget_is_given_and_not_kept(tmp_path: Path) -> None:
    with Archive(tmp_path / "hub", renditions_bytes=100) as archive:
        one = archive.add(example("MR_small_RLE.dcm"))
        assert archive.get(one, EXPLICIT_LITTLE) == archive.get(one, EXPLICIT_LITTLE)
        assert len(archive.objects()) == 1
        assert states(archive) == []
        assert not list((archive.data / "renditions").glob("process-*/*/*"))


class FarStore(DirectoryStore):
    """A store whose reads are one request a piece, as over a network: what is removed breaks off in the middle."""

    piece = 1000

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        at = start
        while piece := self._piece(key, at):
            at += len(piece)
            yield piece

    def _piece(self, key: str, at: int) -> bytes:
        with self.open(key) as file:
            file.seek(at)
            return file.read(self.piece)


@pytest.mark.parametrize("store", [DirectoryStore, FarStore], ids=["a directory", "over a network"])
def test_a_rendition_that_is_thrown_away_in_the_middle_of_a_read_is_read_to_its_end(
    archive: Archive, store: type[DirectoryStore]
) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    with archive.door(store=store(archive.data)) as door:
        _, whole = archive.get(one, EXPLICIT_LITTLE, door=door)
        with door.open(one, [EXPLICIT_LITTLE]) as opened:
            pieces = opened.pieces()
            got = next(pieces) if store is FarStore else b""
            with archive.index.write() as connection:
                rows.make_room(connection, 0)
            door.clean()
            assert len(archive.objects()) == 1
            assert got + b"".join(pieces) == whole


def test_one_that_is_thrown_away_between_the_look_and_the_read_is_made_again(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    whole = archive.get(one, EXPLICIT_LITTLE)
    archive.store.delete(archive.objects() - {one.stored_key})
    assert archive.get(one, EXPLICIT_LITTLE) == whole


def test_a_damaged_rendition_never_goes_out_whole_and_is_made_again(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    whole = archive.get(one, EXPLICIT_LITTLE)
    (key,) = archive.objects() - {one.stored_key}
    with (archive.data / key).open("r+b") as file:
        file.seek(-5, io.SEEK_END)
        file.write(b"\xff")
    with archive.renditions.open(one, [EXPLICIT_LITTLE]) as opened, pytest.raises(DamagedFileError):
        next(opened.pieces())  # the only piece, and so the last
    assert archive.get(one, EXPLICIT_LITTLE) == whole


def test_a_damaged_stored_object_is_never_made_into_something_that_looks_right(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    with (archive.data / one.stored_key).open("r+b") as file:
        file.seek(-5, io.SEEK_END)
        file.write(b"\xff\xfe")
    for accepted in (RLE, EXPLICIT_LITTLE):
        with pytest.raises(DamagedFileError):
            archive.get(one, accepted)
    assert states(archive) == []


def test_a_hub_that_stops_gives_the_lease_back(archive: Archive) -> None:
    one = archive.add(example("MR_small_RLE.dcm"))
    door = archive.door()
    door.close()
    with pytest.raises(PoolClosedError):
        archive.get(one, EXPLICIT_LITTLE, door=door)
    assert states(archive) == []


def test_what_a_dead_process_left_in_the_scratch_directory_goes_at_the_next_start(archive: Archive) -> None:
    root = archive.data / "renditions"
    left = root / "process-dead"
    (left / "room").mkdir(parents=True)
    (left / "lock").touch()
    (left / "room" / "made.dcm").write_bytes(b"half")
    mine = {path for path in root.glob("process-*") if path != left}
    archive.door().close()
    assert set(root.glob("process-*")) == mine
