"""Real senders: dcmtk, Orthanc, pynetdicom. What they sent is in the spool, byte for byte."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pynetdicom import AllStoragePresentationContexts
from support import data
from support.orthanc import orthanc
from support.receiving import receiving, rows, spool_files, unit_config

from appliance.dimse.send import SendProgress, SendSummary, echo, send_files
from appliance.errors import LinkError
from appliance.part10.meta import read_prefix
from appliance.store_forward.receive import Receiver

CALLED = ("-aec", "APPLIANCE", "-aet", "TEST", "127.0.0.1")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(unit_config(tmp_path / "unit")) as started:
        yield started


def data_set(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw[read_prefix(io.BytesIO(raw))[1] :]


def sent(
    receiver: Receiver, files: Sequence[Path], on_progress: Callable[[SendProgress], None] = lambda _: None
) -> SendSummary:
    return send_files(
        files,
        host="127.0.0.1",
        port=receiver.port,
        called_ae="APPLIANCE",
        calling_ae="TEST",
        tls=None,
        on_progress=on_progress,
    )


def digests(receiver: Receiver) -> set[str]:
    """What the rows say; each is checked against the file that the row names."""
    root, found = receiver.spool.root, set()
    for file, digest, size in rows(root.parent, "SELECT file, lower(hex(digest)), bytes FROM instance"):
        body = data_set(root / file)
        assert (hashlib.sha256(body).hexdigest(), len(body)) == (digest, size)
        found.add(digest)
    assert len(spool_files(root.parent)) == len(found)
    return found


def dcmtk(program: str, receiver: Receiver, *arguments: str, environment: dict[str, str] | None = None) -> str:
    command = [program, "-v", *CALLED, str(receiver.port), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_dcmtk_asks_for_an_echo(receiver: Receiver) -> None:
    assert "Received Echo Response (Success)" in dcmtk("echoscu", receiver)


@pytest.mark.parametrize("nodelay", ["0", "1"])
def test_dcmtk_stores_files_and_their_bytes_are_kept(receiver: Receiver, nodelay: str) -> None:
    names = ("CT_small.dcm", "MR_small.dcm", "SC_rgb.dcm")
    files = [data.file(name) for name in names]
    dcmtk("storescu", receiver, *map(str, files), environment={"TCP_NODELAY": nodelay})
    assert len(digests(receiver)) == 3
    # dcmtk writes data sets anew (group lengths, padding); what it announced is what was stored.
    stored = {row[0] for row in rows(receiver.spool.root.parent, "SELECT sop_instance_uid FROM instance")}
    assert stored == {str(dcmread(file).SOPInstanceUID) for file in files}


PROPOSALS = {
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "JPEG-LL.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"])
def test_dcmtk_proposes_a_compressed_encoding_first_and_gets_it(receiver: Receiver, name: str) -> None:
    source = data.file(name)
    own = str(dcmread(source).file_meta.TransferSyntaxUID)
    assert "Success" in dcmtk("storescu", receiver, PROPOSALS[own], str(source))
    assert rows(receiver.spool.root.parent, "SELECT transfer_syntax_uid FROM instance") == [(own,)]


def test_orthanc_stores_by_its_own_c_store(receiver: Receiver, tmp_path: Path) -> None:
    files = [data.file(name) for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "US1_UNCR.dcm")]
    with orthanc(tmp_path / "orthanc", ae_title="TEST", modalities={"unit": ("APPLIANCE", receiver.port)}) as peer:
        # A job an object: Orthanc 1.12 proposes only native syntaxes to an association that began with a native object,
        # whoever accepts it, and then can't send its own JPEG 2000.
        answers = [peer.store("unit", [peer.upload(file)]) for file in files]
    assert [answer["InstancesCount"] for answer in answers] == [1, 1, 1, 1]
    assert [answer["FailedInstancesCount"] for answer in answers] == [0, 0, 0, 0]
    assert len(digests(receiver)) == 4
    # Orthanc writes data sets anew; the pixels are as they were.
    root = receiver.spool.root
    stored = {dcmread(root / file).SOPInstanceUID: dcmread(root / file).PixelData for file in spool_files(root.parent)}
    assert stored == {dcmread(file).SOPInstanceUID: dcmread(file).PixelData for file in files}


def test_every_file_of_pydicom_is_stored_byte_for_byte(receiver: Receiver) -> None:
    files, seen = list(data.dicom_files()), list[SendProgress]()
    notes = Path(__file__)
    summary = sent(receiver, [*files, notes], seen.append)
    assert summary.skipped == [notes]
    # Deflated is not offered, and in one file the sequence before the UIDs has no end.
    assert {(path.name, status) for path, status in summary.failed} == {
        ("image_dfl.dcm", None),
        ("bad_sequence.dcm", 0xC000),
    }
    assert summary.sent == len(files) - 2
    assert [progress.files for progress in seen] == list(range(1, len(files) + 1))
    assert seen[-1].bytes == seen[-1].bytes_total
    whole = {hashlib.sha256(data_set(file)).hexdigest() for file in files}
    found = digests(receiver)
    # The data set of files whose meta names another object is written anew by the sender; all others are as they were.
    assert len(found - whole) <= 10
    assert len(found) == len({_uid_and_bytes(file) for file in files}) - 2


def _uid_and_bytes(file: Path) -> tuple[str, str]:
    return str(dcmread(file, stop_before_pixels=True).SOPInstanceUID), hashlib.sha256(data_set(file)).hexdigest()


def test_deflated_is_taken_when_the_configuration_says_so(tmp_path: Path) -> None:
    file = data.file("image_dfl.dcm")
    with receiving(unit_config(tmp_path / "unit", accept_deflated=True)) as receiver:
        assert sent(receiver, [file]).sent == 1
        assert digests(receiver) == {hashlib.sha256(data_set(file)).hexdigest()}


def _write(path: Path, sop_class: str, size: int = 0) -> Path:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = "2.25.1", "2.25.1.1"
    made.PatientID, made.PatientName, made.Modality = "1", "Test", "OT"
    if size:
        made.add_new(0x00420011, "OB", os.urandom(size))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    made.save_as(path, enforce_file_format=True)
    return path


def test_every_storage_class_of_pynetdicom_and_private_ones_are_stored(receiver: Receiver, tmp_path: Path) -> None:
    classes = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    classes += ["1.2.840.113619.4.26", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999"]
    assert len(classes) > 170
    summary = sent(receiver, [_write(tmp_path / f"{uid}.dcm", uid) for uid in classes])
    assert (summary.failed, summary.skipped) == ([], [])
    stored = rows(receiver.spool.root.parent, "SELECT DISTINCT sop_class_uid FROM instance")
    assert {uid for (uid,) in stored} == set(classes)


def test_an_object_in_two_hundred_small_pdus_is_whole(tmp_path: Path) -> None:
    file = _write(tmp_path / "big.dcm", "1.2.840.10008.5.1.4.1.1.7", 3_000_000)
    with receiving(unit_config(tmp_path / "unit", max_pdu_bytes=16384)) as receiver:
        assert sent(receiver, [file]).sent == 1
        assert digests(receiver) == {hashlib.sha256(data_set(file)).hexdigest()}


def test_the_test_modality_says_why_there_is_no_association(receiver: Receiver) -> None:
    common = {"host": "127.0.0.1", "port": receiver.port}
    assert 0 < echo(**common, called_ae="APPLIANCE", calling_ae="TEST") < 5  # type: ignore[arg-type]
    with pytest.raises(LinkError, match="does not know this calling AE title"):
        echo(**common, called_ae="APPLIANCE", calling_ae="NOBODY")  # type: ignore[arg-type]
    with pytest.raises(LinkError, match="does not go by this called AE title"):
        echo(**common, called_ae="OTHER", calling_ae="TEST")  # type: ignore[arg-type]
    with pytest.raises(LinkError, match="Connection refused"):
        echo(host="127.0.0.1", port=1, called_ae="APPLIANCE", calling_ae="TEST")


def test_the_test_modality_says_at_which_file_the_connection_broke(tmp_path: Path) -> None:
    files = [data.file("CT_small.dcm"), data.file("MR_small.dcm")]
    with receiving(unit_config(tmp_path / "unit")) as receiver, pytest.raises(LinkError, match=r"at MR_small\.dcm"):
        sent(receiver, files, lambda _: receiver.stop())
