"""Until when a certificate is good, against what openssl says of the same one."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from support.certificates import make_certificate

from appliance.store_forward.certificates import expiry


def _openssl_says(certificate: Path) -> int:
    command = ["openssl", "x509", "-noout", "-enddate", "-in", str(certificate)]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    stated = text.strip().removeprefix("notAfter=").replace("GMT", "+0000")
    return int(datetime.strptime(stated, "%b %d %H:%M:%S %Y %z").timestamp() * 1000)


@pytest.mark.parametrize("days", [1, 400, 20_000])  # the last is past 2049, where the form of the time changes
def test_the_expiry_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    certificate, _ = make_certificate(tmp_path, days=days)
    assert expiry(certificate.read_text()) == _openssl_says(certificate)


def test_the_first_of_a_chain_counts(tmp_path: Path) -> None:
    first, _ = make_certificate(tmp_path, "first", days=10)
    second, _ = make_certificate(tmp_path, "second", days=20)
    assert expiry(first.read_text() + second.read_text()) == _openssl_says(first)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"certificate|validity"):
        expiry(text)


def test_a_certificate_that_is_cut_off_is_said_so(tmp_path: Path) -> None:
    lines = make_certificate(tmp_path)[0].read_text().splitlines()
    with pytest.raises(ValueError, match="cut off"):
        expiry("\n".join([*lines[:3], lines[-1]]))
