"""The client of an S3 server is made of the configuration alone, and its keys are in a file that others can't read."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import HubConfig, HubServer, Objects, load_hub
from appliance.errors import ConfigError
from appliance.hub.objects.client import make_client, read_keys
from appliance.hub.objects.directory import DirectoryStore
from appliance.hub.objects.opening import opened
from appliance.hub.objects.s3 import S3Store


def key_file(directory: Path, text: str = "AKIA\nsecret\n", mode: int = 0o640) -> Path:
    path = directory / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_two_lines_are_the_keys(tmp_path: Path):
    assert read_keys(key_file(tmp_path)) == ("AKIA", "secret")


@pytest.mark.parametrize("text", ["", "AKIA\n", "AKIA\nsecret\nmore\n", "AKIA\nsecr\x01et\n", "AKIA\n" + "x" * 257])
def test_a_file_that_is_not_two_lines_is_refused_and_not_repeated(tmp_path: Path, text: str):
    with pytest.raises(ConfigError, match="two lines") as caught:
        read_keys(key_file(tmp_path, text))
    assert "AKIA" not in caught.value.message + caught.value.hint


def test_a_file_that_everyone_reads_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="readable by everyone"):
        read_keys(key_file(tmp_path, mode=0o644))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="can't be read"):
        read_keys(tmp_path / "none")


def test_neither_environment_nor_proxy_nor_files_of_other_tools_say_where_studies_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\nendpoint_url = http://192.0.2.1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:3128")
    client = make_client(Objects(url="s3://bucket", key_file=str(key_file(tmp_path))))
    assert client.meta.endpoint_url == "https://s3.us-east-1.amazonaws.com"
    assert client._endpoint.http_session._proxy_config.proxy_url_for("https://s3.us-east-1.amazonaws.com") is None
    assert client._request_signer._credentials.access_key == "AKIA"


def test_without_a_url_the_archive_is_in_the_data_directory(tmp_path: Path):
    assert isinstance(opened(HubConfig(hub=HubServer(data=str(tmp_path)))), DirectoryStore)
    store = opened(HubConfig(objects=Objects(url="s3://bucket/a/b", key_file=str(key_file(tmp_path)))))
    assert isinstance(store, S3Store)
    store.close()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('url = "s3://bucket"', "objects.key_file"),
        ('url = "http://bucket"', "url"),
        ('url = "s3://bucket/../other"', "url"),
        ('url = "s3://AKIA:secret@bucket"', "url"),
        ('endpoint = "http://s3.example.org"', "https"),
        ('endpoint = "http://8.8.8.8:9000"', "https"),
        ('endpoint = "http://[::::]"', "https"),
        ('endpoint = "https://user:secret@host"', "endpoint"),
        ('endpoint = "https://host/path?x"', "endpoint"),
    ],
)
def test_a_section_that_can_not_be_meant_stops_the_start(tmp_path: Path, lines: str, problem: str):
    (tmp_path / "hub.toml").write_text(f"[objects]\n{lines}\n")
    with pytest.raises(ConfigError, match=problem):
        load_hub(tmp_path / "hub.toml")


@pytest.mark.parametrize(
    "endpoint", ["https://s3.example.org", "http://10.1.0.4:9000", "http://localhost:9000", "http://[fd00::4]:9000"]
)
def test_plain_http_is_for_addresses_that_are_not_public(tmp_path: Path, endpoint: str):
    (tmp_path / "hub.toml").write_text(
        f'[objects]\nurl = "s3://bucket/north"\nkey_file = "/k"\nendpoint = "{endpoint}"\n'
    )
    assert load_hub(tmp_path / "hub.toml").objects.endpoint == endpoint
