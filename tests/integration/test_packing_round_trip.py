"""Real files through real sandboxed workers: byte-exact out, deterministic, small headers, flat memory."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from support import data
from support.images import CONTEXT, EXPLICIT, IMPLICIT, Image, data_set, source_of, write_source

from appliance.compress.faults import DamagedParcelError, DamagedSourceError, refusal_of
from appliance.compress.parcel import NO_DICTIONARY
from appliance.compress.pool import WorkerPool
from appliance.compress.values import PackedParcel, Source
from appliance.config import Compress
from appliance.errors import DamagedFileError, DiskFullError, ParcelError, UnknownDictionaryError
from appliance.model.priority import Priority
from appliance.model.receipt import Refusal

JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(Compress()) as opened:
        yield opened


def no_dictionary(_: bytes) -> None:
    return None


def pack_all(pool: WorkerPool, sources: Sequence[Source], directory: Path) -> list[tuple[PackedParcel, Path]]:
    """As many parcels as it takes."""
    made = []
    left = list(sources)
    while left:
        out = directory / f"{len(made)}.parcel"
        made.append((pool.pack(left, CONTEXT, None, out), out))
        left = left[made[-1][0].instances :]
    return made


def test_every_test_file_of_pydicom_and_its_radiographs_come_back_byte_for_byte(
    pool: WorkerPool, tmp_path: Path
) -> None:
    files = data.dicom_files()
    assert len(files) > 100
    sources = [source_of(path, keep_header=number % 20 == 0) for number, path in enumerate(files)]
    restored = []
    for number, (packed, path) in enumerate(pack_all(pool, sources, tmp_path)):
        into = tmp_path / str(number)
        into.mkdir()
        parcel = pool.unpack(path, no_dictionary, into)
        assert parcel.digest == packed.digest == hashlib.sha256(path.read_bytes()).digest()
        assert (parcel.study_instance_uid, parcel.site, parcel.priority) == ("1.2.3", "site-1", Priority.ROUTINE)
        restored += parcel.instances
    assert len(restored) == len(sources)
    for instance, source in zip(restored, sources, strict=True):
        sent = source.path.read_bytes()[source.data_offset :]
        assert instance.file.read_bytes()[instance.data_offset :] == sent, source.path.name
        assert instance.digest == source.digest
        assert (instance.sop_instance_uid, instance.calling_ae) == (source.sop_instance_uid, "CT1")
        assert instance.received_at == source.received_at
        assert pydicom.dcmread(instance.file, force=True).file_meta.TransferSyntaxUID == source.transfer_syntax_uid


def test_other_workers_make_the_same_parcel(tmp_path: Path) -> None:
    sources = [source_of(data.file(name)) for name in ("CT_small.dcm", "color-px.dcm", "test-SR.dcm", "JPEG2000.dcm")]
    digests = set()
    for name in ("a", "b"):
        with WorkerPool(Compress()) as pool:
            digests.add(pool.pack(sources, CONTEXT, None, tmp_path / f"{name}.parcel").digest)
    assert len(digests) == 1


def test_a_parcel_closes_when_it_is_large_enough(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(65536)
    sources = [
        write_source(tmp_path / f"{number}.dcm", data_set(Image(256, 128), noise, number=number), number=number)
        for number in range(1, 6)
    ]
    with WorkerPool(Compress(parcel_bytes=150_000)) as pool:
        assert [packed.instances for packed, _ in pack_all(pool, sources, tmp_path)] == [3, 2]
    with WorkerPool(Compress(parcel_instances=2)) as pool:
        assert [packed.instances for packed, _ in pack_all(pool, sources, tmp_path)] == [2, 2, 1]


def test_a_header_the_hub_was_asked_to_keep_serves_as_dictionary(pool: WorkerPool, tmp_path: Path) -> None:
    path = data.file("CT_small.dcm")
    first, second = source_of(path, keep_header=True), source_of(path, received_at=5)
    packed = pool.pack([first], CONTEXT, None, tmp_path / "a.parcel")
    (header,) = packed.headers
    assert header.digest == hashlib.sha256(header.header).digest()
    (restored,) = pool.unpack(tmp_path / "a.parcel", no_dictionary, tmp_path).instances
    at = restored.data_offset
    assert restored.keep_header
    assert restored.file.read_bytes()[at : at + restored.header_bytes] == header.header

    smaller = pool.pack([second], CONTEXT, header.header, tmp_path / "b.parcel")
    assert smaller.bytes < packed.bytes - 1000
    assert (tmp_path / "b.parcel").read_bytes()[48:80] == header.digest
    held = {header.digest: header.header}
    into = tmp_path / "into"
    into.mkdir()
    assert pool.unpack(tmp_path / "b.parcel", held.get, into).instances[0].digest == second.digest


@pytest.mark.parametrize("held", [None, b"another header"])
def test_a_parcel_whose_dictionary_is_not_held_is_refused_by_that_word(
    pool: WorkerPool, tmp_path: Path, held: bytes | None
) -> None:
    pool.pack([source_of(data.file("CT_small.dcm"))], CONTEXT, b"some earlier header", tmp_path / "a.parcel")
    with pytest.raises(UnknownDictionaryError) as refused:
        pool.unpack(tmp_path / "a.parcel", lambda _: held, tmp_path)
    assert refusal_of(refused.value) is Refusal.DICTIONARY


def test_a_parcel_without_a_dictionary_says_so(pool: WorkerPool, tmp_path: Path) -> None:
    pool.pack([source_of(data.file("CT_small.dcm"))], CONTEXT, None, tmp_path / "a.parcel")
    assert (tmp_path / "a.parcel").read_bytes()[48:80] == NO_DICTIONARY


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_source_is_named_and_no_parcel_is_left(pool: WorkerPool, tmp_path: Path, damage: str) -> None:
    good = write_source(tmp_path / "1.dcm", data_set(Image(64, 64), bytes(8192)))
    bad = write_source(tmp_path / "2.dcm", data_set(Image(64, 64), bytes(8192), number=2), number=2)
    content = bytearray(bad.path.read_bytes())
    if damage == "flipped":
        content[-100] ^= 1
    elif damage == "cut":
        del content[-10:]
    bad.path.write_bytes(content)
    if damage == "gone":
        bad.path.unlink()
    with pytest.raises(DamagedSourceError) as raised:
        pool.pack([good, bad, good], CONTEXT, None, tmp_path / "a.parcel")
    assert (raised.value.index, raised.value.id) == (1, "E203")
    assert not list(tmp_path.glob("*.parcel"))
    assert not list(tmp_path.glob("*.part"))


def test_a_parcel_that_would_restore_to_too_much_is_refused_first(pool: WorkerPool, tmp_path: Path) -> None:
    black = write_source(tmp_path / "1.dcm", data_set(Image(2000, 2000), bytes(8_000_000)))
    packed = pool.pack([black], CONTEXT, None, tmp_path / "a.parcel")
    assert packed.bytes < 20_000
    with pytest.raises(ParcelError, match="more than is accepted"):
        pool.unpack(tmp_path / "a.parcel", no_dictionary, tmp_path, restored_bytes_max=1_000_000)
    assert not list(tmp_path.glob("0*.dcm"))


def test_a_flipped_bit_on_the_way_is_found_before_anything_is_unpacked(pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "a.parcel"
    pool.pack([source_of(data.file("CT_small.dcm"))], CONTEXT, None, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedParcelError) as refused:
        pool.unpack(path, no_dictionary, tmp_path)
    assert refusal_of(refused.value) is Refusal.DIGEST


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.needs_root
def test_a_full_disk_is_the_fault_of_no_instance_and_leaves_no_file(
    pool: WorkerPool, tmp_path: Path, small_disk: Path
) -> None:
    noise = np.random.default_rng(1).bytes(2 << 20)
    source = write_source(tmp_path / "1.dcm", data_set(Image(1024, 1024), noise))
    with pytest.raises(DiskFullError):
        pool.pack([source], CONTEXT, None, small_disk / "a.parcel")
    assert not list(small_disk.iterdir())
    assert pool.pack([source], CONTEXT, None, tmp_path / "a.parcel").instances == 1


def test_memory_does_not_grow_with_the_frames_of_an_object(tmp_path: Path) -> None:
    frame = (np.add.outer(np.arange(512), np.arange(512)) // 8 % 4096).astype("<u2")
    peaks = []
    for frames in (10, 120):
        image = Image(512, 512, stored=12, frames=frames)
        source = write_source(tmp_path / "1.dcm", data_set(image, frame.tobytes() * frames))
        with WorkerPool(Compress()) as pool:
            pool.pack([source], CONTEXT, None, tmp_path / "a.parcel")
            peaks.append(pool.peak_bytes / (1 << 20))
    assert peaks[1] < 200
    assert peaks[1] < peaks[0] * 1.1


@pytest.mark.needs_series
@pytest.mark.parametrize("name", ["mr-dti-philips-408", "mr-dwi-siemens-100"])
def test_headers_of_diffusion_series_cost_under_three_percent_of_what_deflate_makes_of_them(
    pool: WorkerPool, tmp_path: Path, name: str
) -> None:
    sources = [
        source_of(path, received_at=1_795_000_000_000 + 137 * number) for number, path in enumerate(data.series(name))
    ]
    heads, deflated, packed = 0, 0, 0
    for made, path in pack_all(pool, sources, tmp_path):
        heads += made.bytes - int.from_bytes(path.read_bytes()[40:48], "little")
        into = tmp_path / path.stem
        into.mkdir()
        for instance in pool.unpack(path, no_dictionary, into).instances:
            with instance.file.open("rb") as file:
                file.seek(instance.data_offset)
                deflated += len(zlib.compress(file.read(instance.header_bytes)))
        packed += made.instances
    assert packed == len(sources)
    assert heads < 0.03 * deflated, f"{heads / packed:.0f} bytes an instance, {heads / deflated:.2%}"


def transcodable() -> list[Path]:
    names = (
        "CT_small.dcm MR_small_implicit.dcm 693_UNCR.dcm MR2_UNCI.dcm RG3_UNCI.dcm US1_UNCR.dcm color-pl.dcm "
        "color-px.dcm SC_rgb_16bit_2frame.dcm SC_ybr_full_uncompressed.dcm OBXXXX1A_2frame.dcm emri_small.dcm "
        "gdcm-US-ALOKA-16.dcm vlut_04.dcm examples_palette.dcm MR-SIEMENS-DICOM-WithOverlays.dcm"
    )
    return [data.file(name) for name in names.split()]


@pytest.mark.parametrize("path", transcodable(), ids=lambda path: path.name)
def test_a_transcoded_file_has_the_same_pixels_and_values_and_comes_back_byte_for_byte(
    pool: WorkerPool, tmp_path: Path, path: Path
) -> None:
    out, back = tmp_path / "a.dcm", tmp_path / "b.dcm"
    recipe = pool.transcode(path, out)
    assert recipe is not None
    assert len(recipe) < 600
    before, after = pydicom.dcmread(path), pydicom.dcmread(out)
    assert after.file_meta.TransferSyntaxUID == JPEG_2000_LOSSLESS
    assert np.array_equal(before.pixel_array, after.pixel_array)
    changed = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    for element in before:
        if element.tag.element != 0 and element.keyword not in changed and element.VR != "UN":
            assert after[element.tag].value == element.value, element.keyword
    source = source_of(path)
    assert pool.restore(out, recipe, back) == source.digest
    assert back.read_bytes()[source_of(back).data_offset :] == path.read_bytes()[source.data_offset :]


@pytest.mark.parametrize(
    "name",
    [
        "liver.dcm",
        "rtdose.dcm",
        "test-SR.dcm",
        "MR_small_bigendian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "MR_truncated.dcm",
        "SC_rgb_32bit.dcm",
    ],
)
def test_what_jpeg_2000_can_not_hold_stays_as_received(pool: WorkerPool, tmp_path: Path, name: str) -> None:
    assert pool.transcode(data.file(name), tmp_path / "a.dcm") is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_bits_in_use_beyond_those_stored_stay_as_received(pool: WorkerPool, tmp_path: Path, syntax: str) -> None:
    image = Image(64, 64, stored=12)
    source = write_source(tmp_path / "1.dcm", data_set(image, b"\x01\x80" * 4096, syntax=syntax), syntax=syntax)
    assert pool.transcode(source.path, tmp_path / "a.dcm") is None


def test_a_damaged_recipe_or_file_is_an_error_and_leaves_no_file(pool: WorkerPool, tmp_path: Path) -> None:
    out = tmp_path / "a.dcm"
    recipe = pool.transcode(data.file("CT_small.dcm"), out)
    assert recipe is not None
    for wrong in (b"", recipe[:-5], recipe[::-1]):
        with pytest.raises(DamagedFileError):
            pool.restore(out, wrong, tmp_path / "b.dcm")
    out.write_bytes(out.read_bytes()[:9000])
    with pytest.raises(DamagedFileError):
        pool.restore(out, recipe, tmp_path / "b.dcm")
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]
