"""The hub's verbs as a person uses them: what `list`, `show`, `export`, `verify` and `site` print and do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from click.testing import CliRunner, Result
from support import data, tiny_instances
from support.hub import RunningHub, hub_config, pack, running_hub, source
from support.processes import write_hub
from support.tiny_instances import TinyInstance

from appliance.cli import cli
from appliance.compress.pool import WorkerPool
from appliance.config import Compress
from appliance.hub.credentials import accepts, parse_bearer
from appliance.hub.index import sites
from appliance.hub.index.database import Index
from appliance.part10.identity import read_identity
from appliance.part10.meta import read_prefix

FILES = (
    "CT_small.dcm",  # 16 bits signed
    "MR_small.dcm",
    "MR_small_bigendian.dcm",  # the UIDs of MR_small, other bytes; can't be kept in JPEG 2000
    "JPEG2000.dcm",  # compressed already
    "SC_rgb.dcm",
    "ExplVR_BigEnd.dcm",
    "examples_palette.dcm",
    "liver_1frame.dcm",  # 1 bit
    "test-SR.dcm",  # no pixels
    "rtplan.dcm",
    "emri_small.dcm",  # frames
)
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"


@dataclass
class Sent:
    """An instance as the modality sent it."""

    study: str
    instance: TinyInstance


def read(path: Path) -> Sent:
    with path.open("rb") as file:
        meta, offset = read_prefix(file)
        file.seek(offset)
        identity = read_identity(file, meta.transfer_syntax_uid, path.stat().st_size - offset)
        file.seek(offset)
        body = file.read()
    instance = TinyInstance(identity.sop_instance_uid, body, identity.sop_class_uid, meta.transfer_syntax_uid)
    return Sent(identity.study_instance_uid, instance)


def send(hub: RunningHub, work: Path, sent: list[Sent]) -> None:
    """One parcel a study."""
    work.mkdir()
    with WorkerPool(Compress(parcel_bytes=64 << 20)) as pool:
        for number, study in enumerate(sorted({one.study for one in sent})):
            ours = [one.instance for one in sent if one.study == study]
            sources = [source(work / f"{number}-{at}.dcm", instance) for at, instance in enumerate(ours)]
            parcel = pack(work / "parcels", sources, study, pool=pool)
            assert hub.client().send(parcel)["verdict"] == "verified"


@pytest.fixture(scope="module", params=["as-received", "jpeg2000"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub in either form of archive, that has all of FILES."""
    base = tmp_path_factory.mktemp(request.param)
    with running_hub(hub_config(base / "hub", archive=request.param)) as hub:
        send(hub, base / "work", [read(data.file(name)) for name in FILES])
        yield hub


@pytest.fixture
def run(archive: RunningHub, tmp_path: Path) -> Any:
    """Runs a verb of `appliance hub`."""
    config = write_hub(tmp_path / "hub.toml", archive.data, 0, hub__archive=archive.config.hub.archive)

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, ["--config", str(config), "hub", *words])

    return call


def data_set(path: Path) -> bytes:
    """What stands behind the file meta."""
    with path.open("rb") as file:
        _, offset = read_prefix(file)
        file.seek(offset)
        return file.read()


@pytest.mark.parametrize("name", FILES)
def test_an_exact_export_gives_the_bytes_that_the_modality_sent(
    archive: RunningHub, run: Any, tmp_path: Path, name: str
):
    sent = read(data.file(name))
    result = run("export", sent.study, str(tmp_path / "out"), "--json")
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout)["files"]
    (one,) = [file for file in files if file["digest"] == sent.instance.digest]
    assert data_set(tmp_path / "out" / one["file"]) == sent.instance.data
    assert pydicom.dcmread(tmp_path / "out" / one["file"]).SOPInstanceUID == sent.instance.sop_instance_uid


@pytest.mark.parametrize("name", ["CT_small.dcm", "SC_rgb.dcm", "emri_small.dcm"])
def test_a_transcoded_export_shows_the_same_pixels(run: Any, tmp_path: Path, name: str):
    sent = read(data.file(name))
    result = run("export", sent.study, str(tmp_path / "out"), "--transcoded", "--json")
    assert result.exit_code == 0, result.output
    for file in json.loads(result.stdout)["files"]:
        assert file["transfer_syntax_uid"] == JPEG_2000_LOSSLESS
        exported = pydicom.dcmread(tmp_path / "out" / file["file"])
        assert exported.file_meta.TransferSyntaxUID == JPEG_2000_LOSSLESS
        assert (exported.pixel_array == pydicom.dcmread(data.file(name)).pixel_array).all()
    left = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {".dcm"}


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "test-SR.dcm", "JPEG2000.dcm"])
def test_what_can_not_be_transcoded_is_exported_as_it_is(run: Any, tmp_path: Path, name: str):
    sent = read(data.file(name))
    run("export", sent.study, str(tmp_path / "out"), "--transcoded")
    exported = [data_set(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert sent.instance.data in exported


def test_the_archive_has_the_form_of_the_setting(archive: RunningHub):
    forms = {row[0]: row[1] for row in archive.rows("SELECT sop_instance_uid, form FROM instance")}
    ct = read(data.file("CT_small.dcm")).instance.sop_instance_uid
    assert forms[ct] == archive.config.hub.archive
    assert forms[read(data.file("test-SR.dcm")).instance.sop_instance_uid] == "as-received"


def test_an_export_never_overwrites(run: Any, tmp_path: Path):
    study = read(data.file("CT_small.dcm")).study
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    result = run("export", study, str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "not empty" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_list_prints_a_line_a_study_and_json_the_facts(run: Any):
    shown, facts = run("list"), json.loads(run("list", "--json").stdout)["studies"]
    assert len(facts) == len({read(data.file(name)).study for name in FILES})
    for study in facts:
        assert study["study_instance_uid"] in shown.stdout
        assert study["sites"] == ["site-1"]
    assert json.loads(run("list", "--json", "--limit", "1").stdout)["studies"] == facts[:1]
    assert json.loads(run("list", "--json", "--site", "nowhere").stdout)["studies"] == []


def test_show_prints_series_and_images(run: Any):
    sent = read(data.file("CT_small.dcm"))
    facts = json.loads(run("show", sent.study, "--json").stdout)
    (series,) = facts["series"]
    assert series["modality"] == "CT"
    (image,) = series["instances"]
    assert image["digest"] == sent.instance.digest
    assert image["calling_ae"] == "CT1"
    shown = run("show", sent.study).stdout
    assert "CompressedSamples^CT1" in shown
    assert "1 images in 1 series" in shown


@pytest.mark.parametrize("verb", [("show", "1.2.3"), ("export", "1.2.3", "somewhere"), ("site", "revoke", "nobody")])
def test_what_is_not_here_is_exit_code_6_with_what_to_do(run: Any, verb: tuple[str, ...]):
    result = run(*verb)
    assert result.exit_code == 6
    assert "E601" in result.stderr
    assert "What to do" in result.stderr


def test_whoever_looks_is_in_the_audit_trail(archive: RunningHub, run: Any, tmp_path: Path):
    study = read(data.file("MR_small.dcm")).study
    before = archive.rows("SELECT coalesce(max(id), 0) FROM audit_event")[0][0]
    run("show", study)
    run("export", study, str(tmp_path / "out"))
    run("list")
    rows = archive.rows("SELECT * FROM audit_event WHERE id > ? ORDER BY id", before)
    assert [row["action"] for row in rows] == ["hub.show", "hub.export", "hub.list"]
    (known,) = archive.rows("SELECT id FROM study WHERE study_instance_uid = ?", study)
    assert [row["study_id"] for row in rows] == [known["id"], known["id"], None]
    assert all(row["actor"] and row["role"] == "shell" for row in rows)


def test_verify_finds_every_object_that_a_disk_damaged(tmp_path: Path):
    with running_hub(hub_config(tmp_path / "hub")) as hub:
        instances = [Sent("2.25.1.1", tiny_instances.make(1, number)) for number in range(3)]
        send(hub, tmp_path / "work", instances)
        config = str(write_hub(tmp_path / "hub.toml", hub.data, 0))
        fine = CliRunner().invoke(cli, ["--config", config, "hub", "verify"])
        assert (fine.exit_code, "3 instances" in fine.stdout, "0 damaged" in fine.stdout) == (0, True, True)
        first, second, _ = sorted((hub.data / "archive").rglob("*.dcm"))
        damaged = bytearray(first.read_bytes())
        damaged[-1] ^= 1
        first.write_bytes(damaged)
        second.unlink()
        found = CliRunner().invoke(cli, ["--config", config, "hub", "verify", "--json"])
        assert found.exit_code == 4
        assert len(json.loads(found.stdout)["damaged"]) == 2
        out = CliRunner().invoke(cli, ["--config", config, "hub", "export", "2.25.1.1", str(tmp_path / "out")])
        assert out.exit_code == 4
        assert "E203" in out.stderr


def test_conflicting_images_are_exported_both(tmp_path: Path):
    with running_hub(hub_config(tmp_path / "hub")) as hub:
        for name in ("First^Name", "Second^Name"):
            send(hub, tmp_path / name, [Sent("2.25.1.1", tiny_instances.make(1, 1, name=name))])
        config = str(write_hub(tmp_path / "hub.toml", hub.data, 0))
        out = CliRunner().invoke(
            cli, ["--config", config, "hub", "export", "2.25.1.1", str(tmp_path / "out"), "--json"]
        )
        files = json.loads(out.stdout)["files"]
        assert [file["conflict"] for file in files] == [True, True]
        assert len({file["digest"] for file in files}) == 2
        shown = CliRunner().invoke(cli, ["--config", config, "hub", "show", "2.25.1.1"])
        assert "share a UID" in shown.stdout
        assert "other patient data" in shown.stdout


def test_what_a_hostile_name_holds_for_a_terminal_is_not_obeyed(tmp_path: Path):
    with running_hub(hub_config(tmp_path / "hub")) as hub:
        send(hub, tmp_path / "work", [Sent("2.25.1.1", tiny_instances.make(1, 1, name="\x1b[2J\x1b]0;x\x07^\u202eB"))])
        config = str(write_hub(tmp_path / "hub.toml", hub.data, 0))
        for verb in (("list",), ("show", "2.25.1.1")):
            shown = CliRunner().invoke(cli, ["--config", config, "hub", *verb])
            assert shown.exit_code == 0
            assert not {"\x1b", "\x07", "\u202e"} & set(shown.stdout)


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    """Verbs of a hub that is new."""
    config = write_hub(tmp_path / "hub.toml", tmp_path / "hub", 0)

    def call(*words: str) -> Result:
        return CliRunner().invoke(cli, ["--config", str(config), "hub", *words])

    return call


def _site(tmp_path: Path, site: str) -> sites.Site:
    index = Index.open(hub_config(tmp_path / "hub"))
    with index.read() as connection:
        found = sites.find(connection, site)
    index.close()
    assert found
    return found


def test_a_new_site_gets_a_secret_that_is_shown_once(empty: Any, tmp_path: Path):
    secret = empty("site", "add", "mangochi", "--name", "Mangochi District").stdout.strip()
    credential = parse_bearer(f"Bearer {secret}")
    assert credential
    assert accepts(_site(tmp_path, "mangochi"), credential)
    listed = empty("site", "list")
    assert "Mangochi District" in listed.stdout
    assert secret not in listed.stdout
    assert secret.partition(".")[2].encode() not in b"".join(
        path.read_bytes() for path in (tmp_path / "hub").iterdir() if path.is_file()
    )


def test_a_secret_can_go_to_a_file_that_only_its_owner_reads(empty: Any, tmp_path: Path):
    path = tmp_path / "secret"
    result = empty("site", "add", "a", "--secret-file", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in result.output
    refused = empty("site", "renew", "a", "--secret-file", str(path))
    assert refused.exit_code == 2
    credential = parse_bearer(f"Bearer {path.read_text().strip()}")
    assert credential
    assert accepts(_site(tmp_path, "a"), credential)  # the renewal that could not be handed out did not happen


def test_renew_and_revoke_end_the_old_secret_at_once(empty: Any, tmp_path: Path):
    old = parse_bearer("Bearer " + empty("site", "add", "a").stdout.strip())
    new = parse_bearer("Bearer " + json.loads(empty("site", "renew", "a", "--json").stdout)["secret"])
    assert old
    assert new
    assert [accepts(_site(tmp_path, "a"), one) for one in (old, new)] == [False, True]
    empty("site", "revoke", "a")
    assert not accepts(_site(tmp_path, "a"), new)
    assert "revoked" in empty("site", "list").stdout
    assert json.loads(empty("site", "list", "--json").stdout)["sites"][0]["revoked_at"]


@pytest.mark.parametrize("site", ["A", "-a", "a b", "../a", "a" * 33, ""])
def test_an_id_that_is_none_is_refused(empty: Any, site: str):
    result = empty("site", "add", "--", site)
    assert result.exit_code == 2


def test_a_site_that_is_there_is_not_added_again(empty: Any):
    empty("site", "add", "a")
    again = empty("site", "add", "a")
    assert again.exit_code == 2
    assert "renew" in again.stderr


def test_an_empty_hub_says_so(empty: Any):
    assert "no studies yet" in empty("list").stderr
    assert json.loads(empty("list", "--json").stdout) == {"studies": []}
    assert "site add" in empty("site", "list").stderr


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "8.8.8.8", "hub.example", "", "224.0.0.1", "2001:4860:4860::8888"])
def test_the_hub_does_not_listen_where_the_world_is(tmp_path: Path, bind: str):
    config = write_hub(tmp_path / "hub.toml", tmp_path / "hub", 0, hub__bind=bind)
    result = CliRunner().invoke(cli, ["--config", str(config), "hub", "run"])
    assert result.exit_code == 2
    assert "hub.bind" in result.stderr


def test_an_address_that_is_not_of_this_machine_is_an_error_with_what_to_do(tmp_path: Path):
    config = write_hub(tmp_path / "hub.toml", tmp_path / "hub", 0, hub__bind="10.255.254.253")
    result = CliRunner().invoke(cli, ["--config", str(config), "hub", "run"])
    assert result.exit_code == 3
    assert "E205" in result.stderr
