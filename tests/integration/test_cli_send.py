"""`appliance send` against a real receiver: what it says, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import data
from support.certificates import make_certificate
from support.receiving import receiving, rows, unit_config

from appliance import logs
from appliance.cli import cli
from appliance.store_forward.receive import Receiver


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    logs.configure("receive")  # to standard error, and not into what the command prints
    certificate, key = make_certificate(tmp_path)
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with receiving(unit_config(tmp_path / "data", **tls)) as started:
        yield started


def _send(receiver: Receiver, *arguments: object, calling: str = "TEST") -> Result:
    words = ["send", "--port", receiver.port, "--calling", calling, *arguments]
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_a_directory_is_sent_with_all_below_it(receiver: Receiver, tmp_path: Path) -> None:
    below = tmp_path / "images" / "series"
    below.mkdir(parents=True)
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm"):
        (below / name).write_bytes(data.file(name).read_bytes())
    (below.parent / "README.txt").write_text("no image")
    done = _send(receiver, tmp_path / "images", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["sent"], facts["failed"]) == (3, [])
    assert facts["skipped"] == [str(below.parent / "README.txt")]
    assert set(facts) == {"sent", "bytes", "seconds", "failed", "skipped"}
    assert rows(tmp_path / "data", "SELECT count(*) FROM instance") == [(3,)]


def test_in_words_it_says_how_many_and_what_was_no_image(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no image")
    done = _send(receiver, data.file("CT_small.dcm"), tmp_path / "note.txt")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("1 stored, 39 kB in ")
    assert f"not DICOM:  {tmp_path}/note.txt" in done.stdout


def test_nothing_that_is_dicom_is_exit_code_4(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no image")
    assert _send(receiver, tmp_path / "note.txt").exit_code == 4


def test_an_encoding_that_is_not_accepted_is_exit_code_4_and_named(receiver: Receiver) -> None:
    done = _send(receiver, data.file("image_dfl.dcm"), data.file("CT_small.dcm"))
    assert done.exit_code == 4
    assert "image_dfl.dcm (this kind or encoding is not accepted)" in done.stdout
    assert "1 stored" in done.stdout


def test_an_echo_is_answered(receiver: Receiver) -> None:
    assert json.loads(_send(receiver, "--echo", "--json").stdout)["echo_seconds"] > 0
    assert "APPLIANCE answers in" in _send(receiver, "--echo").stdout


def test_tls_needs_a_certificate_that_is_trusted(receiver: Receiver, tmp_path: Path) -> None:
    words = ["send", "--tls", "--port", str(receiver.tls_port), "--calling", "TEST", "--echo"]
    trusted = CliRunner().invoke(cli, [*words, "--ca", str(tmp_path / "unit.pem")])
    assert trusted.exit_code == 0, trusted.output
    assert CliRunner().invoke(cli, words).exit_code == 5


def test_a_caller_that_is_not_known_is_exit_code_5_with_what_to_do(receiver: Receiver) -> None:
    done = _send(receiver, data.file("CT_small.dcm"), calling="STRANGER")
    assert done.exit_code == 5
    assert "does not know this calling AE title" in done.stderr
    assert "What to do:" in done.stderr


def test_nobody_who_answers_is_exit_code_5() -> None:
    done = CliRunner().invoke(cli, ["send", "--port", "1", str(data.file("CT_small.dcm"))])
    assert done.exit_code == 5


def test_nothing_to_send_is_exit_code_2(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = _send(receiver, tmp_path / "empty")
    assert done.exit_code == 2
    assert "nothing to send" in done.stderr
