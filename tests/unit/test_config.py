"""The configuration file: what is written can be read, and what is wrong stops the start with its line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import config
from appliance.config import HubConfig, Modality, UnitConfig, load_hub, load_unit, write_commented
from appliance.errors import ConfigError
from appliance.model.priority import Priority

MODALITY = '[[dicom.modalities]]\nname = "CT"\nae_title = "CT1"\nnetwork = "10.0.0.0/24"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "appliance.toml"


def test_an_empty_file_means_every_default(path: Path) -> None:
    path.write_text("")
    assert load_unit(path) == UnitConfig()
    assert load_hub(path) == HubConfig()


def test_the_written_file_says_the_defaults(path: Path) -> None:
    path.write_text(write_commented(UnitConfig))
    assert load_unit(path) == UnitConfig()
    path.write_text(write_commented(HubConfig))
    assert load_hub(path) == HubConfig()


@pytest.mark.parametrize("kind", [UnitConfig, HubConfig])
def test_every_key_is_written_with_its_meaning(kind: type[UnitConfig] | type[HubConfig]) -> None:
    lines = write_commented(kind).splitlines()
    for section in msgspec.structs.fields(kind):
        for field, meaning in config.describe(type(section.default)):
            assert meaning != field.name, f"{section.name}.{field.name} has no description"
            if not isinstance(field.default, tuple):
                assert f"# {meaning}." in lines


@pytest.mark.parametrize(("table", "key"), [("dicom", "modalities"), ("link", "windows"), ("link", "uplinks")])
def test_the_example_of_a_table_is_sound_when_its_marks_are_taken_away(path: Path, table: str, key: str) -> None:
    lines = [
        line.removeprefix("# ") if line.startswith("# ") else line for line in write_commented(UnitConfig).split("\n")
    ]
    start = lines.index(f"[[{table}.{key}]]")
    end = lines.index("", start)
    path.write_text("\n".join(lines[start:end]))
    kind, example = next((row, values) for name, row, values in config.ROWS[table] if name == key)
    assert getattr(getattr(load_unit(path), table), key) == (kind(**example),)


@pytest.mark.parametrize(
    "line",
    ['opens = "24:01"', 'closes = "7:00"', 'days = ["monday"]', "days = []", 'priorities = ["soon"]', "rate_kbit = -1"],
)
def test_a_window_that_can_not_be_read_is_refused_with_its_line(path: Path, line: str) -> None:
    path.write_text(f"[[link.windows]]\n{line}\n")
    with pytest.raises(ConfigError, match=r":2: link\.windows\.0\."):
        load_unit(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(alphabet=st.characters(codec="utf-8")))
def test_a_value_comes_back_as_it_was_given(path: Path, name: str) -> None:
    text = write_commented(UnitConfig, {"site.name": name, "dicom.port": 104, "dicom.accept_deflated": True})
    path.write_text(text, "utf-8")
    read = load_unit(path)
    assert (read.site.name, read.dicom.port, read.dicom.accept_deflated) == (name, 104, True)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[web]\nport = 80\n\n[dicom]\nprot = 104\n", 5, "dicom.prot"),
        ("[web]\nport = 99999\n", 2, "web.port"),
        ('[web]\n# the port\nport = "80"\n', 3, "web.port"),
        ("[wbe]\nport = 80\n", 1, "wbe"),
        ('[site]\nname = "A"\nid = "Not An Id"\n', 3, "site.id"),
        ('[dicom]\nae_title = "MORE THAN SIXTEEN"\n', 2, "dicom.ae_title"),
        ("[storage]\nreserve_bytes = 5\n", 2, "storage.reserve_bytes"),
        (MODALITY + MODALITY.replace("CT1", "A\\\\B"), 7, "dicom.modalities.1.ae_title"),
        (MODALITY.replace("10.0.0.0/24", "10.0.0.0/99"), 4, "dicom.modalities.0.network"),
        ('[site]\nid = "a"\ntimezone = "Mars/Olympus"\n', 3, "site.timezone"),
        ("[dicom]\nport = 104\ntls_port = 2762\n", 3, "dicom.tls_port"),
        ("[hub]\nstall_seconds = 40000.0\n", 2, "hub.stall_seconds"),  # no socket takes it, so no line would ever be up
        ("[compress]\nwall_seconds = inf\n", 2, "compress.wall_seconds"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(path: Path, text: str, line: int, key: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_unit(path)
    assert raised.value.message.startswith(f"{path}:{line}: {key.replace('.0.', '.').replace('.1.', '.')}: ") or (
        raised.value.message.startswith(f"{path}:{line}: {key}: ")
    )


def test_broken_toml_is_named_with_its_line(path: Path) -> None:
    path.write_text('[web]\nport = 80\nbind = "unclosed\n')
    with pytest.raises(ConfigError, match="line 3"):
        load_unit(path)


def test_a_missing_file_is_said_so(path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_unit(path)


def test_bytes_that_are_not_text_are_said_so(path: Path) -> None:
    path.write_bytes(b"[site]\nname = \xff\xfe\n")
    with pytest.raises(ConfigError, match="can't be read"):
        load_unit(path)


def test_a_hub_has_no_keys_of_a_unit(path: Path) -> None:
    path.write_text("[dicom]\nport = 104\n")
    with pytest.raises(ConfigError, match="dicom"):
        load_hub(path)


def test_a_modality_may_have_its_own_settle_time_and_priority(path: Path) -> None:
    path.write_text(MODALITY + 'settle_seconds = 5\npriority = "stat"\n' + MODALITY.replace("CT1", "CT2"))
    unit = load_unit(path)
    own, general = unit.dicom.modalities
    assert unit.settle_seconds(own) == 5
    assert unit.settle_seconds(general) == unit.settle_seconds(None) == unit.study.settle_seconds
    assert [config.priority_of(m) for m in (own, general, None)] == [
        Priority.STAT,
        Priority.ROUTINE,
        Priority.ROUTINE,
    ]


def test_one_address_is_a_network_of_one() -> None:
    modality = Modality(name="CT", ae_title="CT1", network="192.168.1.20")
    assert modality.networks.num_addresses == 1


def _with_secret(tmp_path: Path, text: str, mode: int) -> UnitConfig:
    secret = tmp_path / "secret"
    secret.write_text(text)
    secret.chmod(mode)
    return UnitConfig(hub=config.Uplink(secret_file=str(secret)))


def test_the_secret_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert config.read_secret(_with_secret(tmp_path, "site-1.abc\n", 0o640)) == "site-1.abc"


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [("abc", 0o644, "readable by everyone"), (" \n", 0o600, "empty"), ("é", 0o600, "can't be")],
)
def test_a_secret_that_is_open_or_empty_stops_the_start(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.read_secret(_with_secret(tmp_path, text, mode))


def test_a_missing_secret_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not set"):
        config.read_secret(UnitConfig())
    with pytest.raises(ConfigError) as raised:
        config.read_secret(UnitConfig(hub=config.Uplink(secret_file=str(tmp_path / "none"))))
    assert "hub site add" in raised.value.hint


KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
TUNNEL = f'[hub]\ninterface = "wg0"\n[tunnel]\nendpoint = "hub.example.org:51820"\npeer = "{KEY}"\n'


def test_a_tunnel_and_its_uplinks_are_read(path: Path) -> None:
    path.write_text(
        TUNNEL
        + '[[link.uplinks]]\nname = "Fibre"\ndevice = "eth1"\n'
        + '[[link.uplinks]]\nname = "VSAT"\ngateway = "192.168.100.1"\ncost_per_mb = 0.5\n'
    )
    unit = load_unit(path)
    assert unit.tunnel.endpoint == "hub.example.org:51820"
    assert [(uplink.device, uplink.gateway) for uplink in unit.link.uplinks] == [("eth1", ""), ("", "192.168.100.1")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TUNNEL.replace(":51820", ""), "tunnel.endpoint: must be NAME:PORT"),
        (TUNNEL.replace(":51820", ":0"), "tunnel.endpoint: must be NAME:PORT"),
        (TUNNEL.replace("hub.example.org", "-x y"), "tunnel.endpoint: must begin"),
        (TUNNEL.replace("hub.example.org", "10.1.2"), "tunnel.endpoint: 10.1.2 is no IP address"),
        (TUNNEL.replace(KEY, ""), "tunnel.peer: the hub's public key is needed"),
        (TUNNEL.replace(KEY, KEY[:-2] + "="), "tunnel.peer"),
        (TUNNEL.replace('"wg0"', '""'), "hub.interface: must name the tunnel"),
        (TUNNEL + 'resolvers = ["ns.example.org"]\n', "tunnel.resolvers: 'ns.example.org' is no IP address"),
        (TUNNEL + '[[link.uplinks]]\nname = "A"\ndevice = "wg0"\n', "can't be the tunnel itself"),
        (TUNNEL + '[[link.uplinks]]\nname = "A"\ndevice = "eth0 up"\n', "link.uplinks.0.device"),
        (TUNNEL + '[[link.uplinks]]\nname = "A"\ngateway = "the router"\n', "'the router' is no IP address"),
        (TUNNEL + '[[link.uplinks]]\nname = "A"\ndevice = "eth1"\n' * 2, "there are two uplinks 'A'"),
        (TUNNEL + '[[link.uplinks]]\nname = "A"\n[[link.uplinks]]\nname = "B"\n', "needs its device or gateway"),
    ],
)
def test_a_tunnel_that_can_not_be_is_refused_with_its_key(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_unit(path)
    assert said in raised.value.message
