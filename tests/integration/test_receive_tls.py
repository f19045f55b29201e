"""DICOM TLS (PS3.15 B.12) beside plain DICOM, with real clients."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import data
from support.certificates import make_certificate
from support.receiving import receiving, rows, unit_config
from support.tiny_scu import IMPLICIT_LITTLE, VERIFICATION, TinyScu, association_request

from appliance.dimse.send import echo, send_files
from appliance.errors import ConfigError
from appliance.store_forward.receive import Receiver


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """The unit's certificate, and one of a modality that the unit is told to trust."""
    made = {name: make_certificate(tmp_path, name) for name in ("unit", "modality", "stranger")}
    return {f"{name}.{kind}": str(path) for name, pair in made.items() for kind, path in zip("ck", pair, strict=True)}


@pytest.fixture
def receiver(tmp_path: Path, certificates: dict[str, str]) -> Iterator[Receiver]:
    tls = {"tls_certificate": certificates["unit.c"], "tls_key": certificates["unit.k"]}
    with receiving(unit_config(tmp_path / "data", **tls)) as started:
        yield started


@pytest.fixture
def strict(tmp_path: Path, certificates: dict[str, str]) -> Iterator[Receiver]:
    """A receiver that asks for a certificate."""
    tls = {"tls_certificate": certificates["unit.c"], "tls_key": certificates["unit.k"]}
    with receiving(unit_config(tmp_path / "strict", tls_client_ca=certificates["modality.c"], **tls)) as started:
        yield started


def client(certificates: dict[str, str], own: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates["unit.c"])
    if own:
        context.load_cert_chain(certificates[f"{own}.c"], certificates[f"{own}.k"])
    return context


def ask(port: int | None, context: ssl.SSLContext) -> float:
    assert port
    return echo(host="127.0.0.1", port=port, called_ae="APPLIANCE", calling_ae="TEST", tls=context)


def test_files_come_over_tls_and_plain_dicom_goes_on_beside_it(
    receiver: Receiver, certificates: dict[str, str]
) -> None:
    assert receiver.tls_port
    summary = send_files(
        [data.file("CT_small.dcm"), data.file("JPEG2000.dcm")],
        host="127.0.0.1",
        port=receiver.tls_port,
        called_ae="APPLIANCE",
        calling_ae="TEST",
        tls=client(certificates),
        on_progress=lambda _: None,
    )
    assert summary.sent == 2
    with TinyScu(receiver.port) as scu:
        assert scu.echo() == 0
    assert rows(receiver.spool.root.parent, "SELECT count(*) FROM instance") == [(2,)]


def test_dcmtk_asks_for_an_echo_over_tls(receiver: Receiver, certificates: dict[str, str]) -> None:
    command = ["echoscu", "-v", "+tla", "+cf", certificates["unit.c"], "-aec", "APPLIANCE", "-aet", "TEST"]
    done = subprocess.run(
        [*command, "127.0.0.1", str(receiver.tls_port)], capture_output=True, text=True, timeout=30, check=False
    )
    assert "Received Echo Response (Success)" in done.stdout + done.stderr


def test_a_client_must_show_a_certificate_that_is_trusted_when_one_is_asked(
    strict: Receiver, certificates: dict[str, str]
) -> None:
    assert ask(strict.tls_port, client(certificates, "modality")) > 0
    for own in ("", "stranger"):
        assert not is_answered(strict.tls_port, client(certificates, own))
    assert ask(strict.tls_port, client(certificates, "modality")) > 0


def is_answered(port: int | None, context: ssl.SSLContext) -> bool:
    """Whether an association request over TLS gets an answer. (Under TLS 1.3 a refusal shows at the first read.)"""
    assert port
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                secured.sendall(association_request([(VERIFICATION, IMPLICIT_LITTLE)]))
                return secured.recv(1) == b"\x02"
        except (ssl.SSLError, OSError):
            return False


def old(context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def without_forward_secrecy(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256:AES256-SHA")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("weaken", [old, without_forward_secrecy])
def test_what_the_profile_forbids_is_not_spoken(receiver: Receiver, weaken: object) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert is_answered(receiver.tls_port, context)
    weaken(context)  # type: ignore[operator]
    assert not is_answered(receiver.tls_port, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_the_profile_are_spoken(
    receiver: Receiver, certificates: dict[str, str], version: ssl.TLSVersion
) -> None:
    context = client(certificates)
    context.minimum_version = context.maximum_version = version
    assert ask(receiver.tls_port, context) > 0


def test_plain_dicom_on_the_tls_port_is_cut_and_harms_nothing(receiver: Receiver, certificates: dict[str, str]) -> None:
    assert receiver.tls_port
    with pytest.raises(OSError):  # noqa: PT011  (a reset or a close, as it comes)
        TinyScu(receiver.tls_port)
    assert ask(receiver.tls_port, client(certificates)) > 0


def test_certificates_that_can_not_be_used_stop_the_start_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    broken = str(tmp_path / "no.pem")
    with pytest.raises(ConfigError, match="tls_certificate"):
        Receiver(unit_config(tmp_path / "data", tls_certificate=broken, tls_key=broken))
