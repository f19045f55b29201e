"""The unit speaks to its hub through the tunnel or on loopback; everything else stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import Uplink
from appliance.errors import ConfigError
from appliance.link.tunnel import find_way, interface_is_up


@pytest.mark.parametrize(
    ("url", "interface", "origin", "path"),
    [
        ("http://127.0.0.1:8090", "", "http://127.0.0.1:8090", ""),
        ("http://127.9.9.9", "", "http://127.9.9.9:80", ""),
        ("http://localhost:8090/", "", "http://127.0.0.1:8090", ""),
        ("http://[::1]:8090/base/", "", "http://[::1]:8090", "/base"),
        ("http://10.8.0.1:8090", "wg0", "http://10.8.0.1:8090", ""),
        ("https://[fd00::1]", "wg-hub.1", "https://[fd00::1]:443", ""),
    ],
)
def test_a_hub_in_the_tunnel_or_on_loopback_is_found(url: str, interface: str, origin: str, path: str) -> None:
    way = find_way(Uplink(url=url, interface=interface))
    assert (way.origin, way.path, way.interface) == (origin, path, interface)


@pytest.mark.parametrize(
    ("url", "interface"),
    [
        ("http://10.8.0.1:8090", ""),  # no tunnel is named
        ("http://0.0.0.0:8090", ""),
        ("http://[::ffff:10.8.0.1]:8090", ""),
        ("http://hub.example:8090", "wg0"),  # a name would be looked up outside of the tunnel
        ("http://localhost.example", ""),
        ("http://0x7f.1:80", ""),
        ("ftp://10.8.0.1", "wg0"),
        ("http://u:p@10.8.0.1", "wg0"),
        ("http://10.8.0.1:99999", "wg0"),
        ("http://10.8.0.1/?a=b", "wg0"),
        ("http://[::1", ""),
        ("", ""),
        ("http://10.8.0.1", "../wg0"),
        ("http://10.8.0.1", "a-name-that-is-too-long"),
    ],
)
def test_every_other_way_stops_the_start(url: str, interface: str) -> None:
    with pytest.raises(ConfigError):
        find_way(Uplink(url=url, interface=interface))


def test_an_interface_is_up_when_the_kernel_says_so(tmp_path: Path) -> None:
    for name, flags in (("wg0", "0x10081"), ("wg1", "0x10080"), ("wg2", "rubbish")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags").write_text(f"{flags}\n")
    assert interface_is_up("wg0", system=tmp_path)
    assert not interface_is_up("wg1", system=tmp_path)
    assert not interface_is_up("wg2", system=tmp_path)
    assert not interface_is_up("wg3", system=tmp_path)
    assert interface_is_up("lo")
