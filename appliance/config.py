"""One TOML file, read into frozen typed objects. An unknown key, a bad value or a missing secret stops the start.

The same classes say what each key means and what its default is; `appliance init` and docs/reference/config.md are
written from them, so the three can't differ.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from appliance.errors import ConfigError
from appliance.model.endpoint import is_address, split_endpoint
from appliance.model.priority import Priority

MIB = 1 << 20
GIB = 1 << 30

SiteId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
AeTitle = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[\x21-\x5b\x5d-\x7e][\x20-\x5b\x5d-\x7e]*$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
# Over four hours. More the kernel's own timers don't take (32,767 s in a socket's options), nor poll(2) with the 129
# times as much that a worker gets for an object of 8 GiB.
Seconds = Annotated[float, Meta(gt=0, le=16_000)]
QuietSeconds = Annotated[float, Meta(gt=0, le=3.2e8)]  # ten years: not infinity, which no clock can add to a time
Days = Annotated[float, Meta(gt=0, le=36_500)]
Count = Annotated[int, Meta(ge=1)]
PriorityWord = Annotated[str, Meta(pattern=r"^(stat|urgent|routine|prior)$")]
DayWord = Annotated[str, Meta(pattern=r"^(mon|tue|wed|thu|fri|sat|sun)$")]
TimeOfDay = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
InterfaceName = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.:@-]{0,14})?$")]
WireGuardKey = Annotated[str, Meta(pattern=r"^([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)?$")]  # 32 bytes in Base64
Kilobits = Annotated[int, Meta(ge=0, le=10_000_000)]
Megabytes = Annotated[int, Meta(ge=0, le=1_000_000_000)]  # of 1,000,000 bytes, as they are sold


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Site(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hospital this unit stands in."""

    id: Annotated[SiteId, Meta(description="Short name that the hub knows this site by: a-z, 0-9 and '-'")] = "site-1"
    name: Annotated[str, Meta(description="Name as people say it; shown on the page and at the hub")] = "My hospital"
    timezone: Annotated[str, Meta(description="IANA time zone of the page, e.g. Africa/Blantyre")] = "UTC"
    language: Annotated[str, Meta(description="First language of the page: en, fr")] = "en"


class Storage(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the unit keeps what it received."""

    data: Annotated[str, Meta(description="Directory of the database, spool and parcels")] = "/var/lib/appliance"
    reserve_bytes: Annotated[int, Meta(ge=MIB, description="Bytes of disk kept free; below it nothing is accepted")] = (
        512 * MIB
    )
    retention_days: Annotated[
        float, Meta(ge=0, le=36500, description="Days an instance stays in the spool after its receipt from the hub")
    ] = 30.0


class Modality(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device that may send studies. One [[dicom.modalities]] table each."""

    name: Annotated[str, Meta(min_length=1, max_length=64, description="Name shown to people, e.g. CT room 1")]
    ae_title: Annotated[AeTitle, Meta(description="Calling AE title that it uses")]
    network: Annotated[str, Meta(description="Its address or network, e.g. 192.168.1.20 or 192.168.1.0/24")]
    settle_seconds: Annotated[
        QuietSeconds | None,
        Meta(description="Quiet seconds after which a study counts as whole; unset: the general value"),
    ] = None
    priority: Annotated[PriorityWord, Meta(description="Priority its studies start with")] = "routine"
    report_port: Annotated[
        Port | None, Meta(description="Port on which it takes storage commitment reports; unset: the general value")
    ] = None

    @property
    def networks(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The addresses that may use this entry."""
        return ipaddress.ip_network(self.network, strict=False)


class Dicom(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The DICOM listener for modalities."""

    ae_title: Annotated[AeTitle, Meta(description="AE title of this unit")] = "APPLIANCE"
    bind: Annotated[str, Meta(description="Address on the hospital network to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of plain DICOM")] = 11112
    tls_port: Annotated[Port, Meta(description="Port of DICOM TLS (PS3.15 B.12); 0: no TLS listener")] = 0
    tls_certificate: Annotated[str, Meta(description="PEM file with the certificate chain of this unit")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its private key")] = ""
    tls_client_ca: Annotated[
        str, Meta(description="PEM file of the authorities whose client certificates are accepted; empty: none asked")
    ] = ""
    accept_any_called_ae: Annotated[bool, Meta(description="Accept calls to another AE title than ours")] = False
    accept_deflated: Annotated[bool, Meta(description="Offer Deflated Explicit VR; inflating is bounded")] = False
    max_pdu_bytes: Annotated[int, Meta(ge=16384, le=MIB, description="Largest PDU accepted, in bytes")] = 262144
    max_associations: Annotated[int, Meta(ge=1, le=48, description="Open associations in all")] = 24
    max_associations_per_peer: Annotated[Count, Meta(description="Open associations of one address")] = 6
    pdu_seconds: Annotated[Seconds, Meta(description="A PDU that started must be whole within this time")] = 15.0
    idle_seconds: Annotated[Seconds, Meta(description="A silent association is aborted after this time")] = 60.0
    handshake_seconds: Annotated[
        Seconds, Meta(description="TLS handshake and association request must be done within this time")
    ] = 5.0
    max_object_bytes: Annotated[int, Meta(ge=MIB, description="Largest data set accepted, in bytes")] = 8 * GIB
    commitment: Annotated[
        str,
        Meta(
            pattern=r"^(box|hub)$",
            description="When storage commitment is given: box, once durable on this unit; hub, once the hub has it",
        ),
    ] = "hub"
    report_port: Annotated[
        Port,
        Meta(
            description="Port of devices that take storage commitment reports, at the address they asked from; "
            "0: none but on their own association"
        ),
    ] = 104
    modalities: Annotated[
        tuple[Modality, ...], Meta(description="Devices that may send; others are refused and shown on the page")
    ] = ()


class Study(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a study counts as whole."""

    settle_seconds: Annotated[QuietSeconds, Meta(description="Quiet seconds after its last instance")] = 120.0


class Compress(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Packing: sandboxed workers, their limits, and the size of parcels."""

    workers: Annotated[Count, Meta(description="Worker processes; each uses one core")] = 1
    memory_bytes: Annotated[int, Meta(ge=64 * MIB, description="Address space of one worker, in bytes")] = GIB
    cpu_seconds: Annotated[Seconds, Meta(description="CPU time a worker may use for one instance")] = 120.0
    wall_seconds: Annotated[Seconds, Meta(description="Wall time for one instance; then the worker is replaced")] = (
        300.0
    )
    parcel_bytes: Annotated[
        int, Meta(ge=65536, le=64 * MIB, description="A parcel is closed when it is at least this large, in bytes")
    ] = 2 * MIB
    parcel_instances: Annotated[Count, Meta(description="Most instances in one parcel")] = 256
    ahead_bytes: Annotated[
        int, Meta(ge=MIB, description="Packed bytes that may wait for the line before packing pauses (stat goes on)")
    ] = 4 * GIB


class Uplink(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hub, and the way to it."""

    url: Annotated[str, Meta(description="Base URL of the hub on its tunnel address")] = "http://127.0.0.1:8090"
    secret_file: Annotated[str, Meta(description="File that holds this site's secret, as the hub gave it")] = ""
    interface: Annotated[
        str, Meta(description="Tunnel interface; traffic leaves by it alone. Empty only when the hub is on loopback")
    ] = ""
    connect_seconds: Annotated[Seconds, Meta(description="Time to connect before trying again")] = 10.0
    stall_seconds: Annotated[Seconds, Meta(description="A transfer with no progress for this time is cut")] = 15.0
    retry_seconds_max: Annotated[Seconds, Meta(description="Longest pause between two tries; it never gives up")] = 5.0


class Tunnel(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The WireGuard tunnel, kept up by `appliance tunnel`. Its interface is `hub.interface`."""

    endpoint: Annotated[
        str, Meta(description="NAME:PORT or ADDRESS:PORT of the hub's WireGuard; empty: the tunnel is not looked after")
    ] = ""
    peer: Annotated[WireGuardKey, Meta(description="The hub's public key, as `wg show` prints it there")] = ""
    resolvers: Annotated[
        tuple[str, ...], Meta(max_length=4, description="Name servers to ask; none: those of /etc/resolv.conf")
    ] = ()
    keepalive_seconds: Annotated[
        int, Meta(ge=1, le=3600, description="A silent tunnel sends an empty packet so often (32 bytes)")
    ] = 25
    stale_seconds: Annotated[
        Seconds, Meta(description="A handshake older than this carries nothing; WireGuard's own limit is 180")
    ] = 180.0
    silent_seconds: Annotated[
        Seconds, Meta(description="What is sent gets no answer for so long: the tunnel is helped")
    ] = 30.0
    step_seconds: Annotated[Seconds, Meta(description="Time that each step of help is given before the next")] = 15.0
    return_seconds: Annotated[
        Seconds, Meta(description="After a fail-over a better uplink is tried again after this time, then twice, …")
    ] = 300.0


class LinkWindow(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours in which the line may be used. One [[link.windows]] table each; the first that holds now counts."""

    days: Annotated[
        tuple[DayWord, ...], Meta(min_length=1, description="Days it opens on: mon, tue, wed, thu, fri, sat, sun")
    ] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    opens: Annotated[TimeOfDay, Meta(description="Local time it opens, e.g. 20:00")] = "00:00"
    closes: Annotated[TimeOfDay, Meta(description="Local time it closes; not after `opens`: on the next day")] = "24:00"
    rate_kbit: Annotated[Kilobits, Meta(description="Cap in these hours, in kbit/s; 0: that of [link]")] = 0
    priorities: Annotated[
        tuple[PriorityWord, ...], Meta(description="Which studies go in these hours: stat, urgent, routine, prior")
    ] = ("stat", "urgent", "routine", "prior")


class LinkUplink(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to the internet. One [[link.uplinks]] table each, the best first."""

    name: Annotated[str, Meta(min_length=1, max_length=32, description="Name shown to people, e.g. SIM")]
    device: Annotated[
        InterfaceName, Meta(description="Network device that it is, e.g. wwan0; the tunnel's packets leave by it")
    ] = ""
    gateway: Annotated[
        str, Meta(description="Address of its router; empty: the one that the device was given, e.g. by DHCP")
    ] = ""
    cost_per_mb: Annotated[float, Meta(ge=0, description="What a megabyte costs, in the site's money")] = 0.0
    monthly_mb: Annotated[
        Megabytes | None, Meta(description="Megabytes it may carry in a calendar month; unset: any; 0: only stat goes")
    ] = None
    stat_extra_mb: Annotated[
        Megabytes | None, Meta(description="Megabytes that stat studies may use beyond that; unset: any")
    ] = None


class Link(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of the line may be used, and what goes first."""

    rate_kbit: Annotated[
        Kilobits, Meta(description="Cap on what is sent, in kbit/s with the tunnel's own headers; 0: none")
    ] = 0
    windows: Annotated[tuple[LinkWindow, ...], Meta(max_length=64, description="Hours; none: always")] = ()
    uplinks: Annotated[tuple[LinkUplink, ...], Meta(max_length=8, description="Ways to the internet")] = ()
    stat_any_time: Annotated[bool, Meta(description="Stat studies go outside these hours too")] = True
    aging_hours: Annotated[
        float, Meta(gt=0, le=87_600, description="Hours after which a routine study takes its turn as an urgent one")
    ] = 24.0
    trickle_share: Annotated[
        float, Meta(ge=0, le=0.5, description="Share of the line kept for what waits behind urgent studies")
    ] = 0.05
    replica_port: Annotated[
        Port, Meta(description="Port on loopback for the replication of this unit's database to the hub; 0: none")
    ] = 0
    replica_hub_port: Annotated[Port, Meta(description="Port at the hub's address that it leads to")] = 8092


class Courier(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Studies that are carried on a USB stick when the line is dead."""

    hub_key: Annotated[
        str,
        Meta(
            pattern=r"^(age1[02-9ac-hj-np-z]{58})?$",
            description="The hub's public key, as `appliance hub courier key` prints it; empty: no stick is written",
        ),
    ] = ""


class Web(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The radiographer's page."""

    bind: Annotated[str, Meta(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the page")] = 8080
    session_hours: Annotated[float, Meta(gt=0, le=8784, description="A login lasts this long without use")] = 12.0


class UnitConfig(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file of a unit."""

    site: Site = Site()
    storage: Storage = Storage()
    dicom: Dicom = Dicom()
    study: Study = Study()
    compress: Compress = Compress()
    hub: Uplink = Uplink()
    tunnel: Tunnel = Tunnel()
    link: Link = Link()
    courier: Courier = Courier()
    web: Web = Web()

    @property
    def data(self) -> Path:
        """The data directory."""
        return Path(self.storage.data)

    def settle_seconds(self, modality: Modality | None) -> float:
        """Quiet time after which a study of this modality counts as whole, in seconds."""
        own = modality.settle_seconds if modality else None
        return self.study.settle_seconds if own is None else own


class HubServer(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hub's listener and its stores."""

    name: Annotated[str, Meta(description="Name of the hub; units show it")] = "Hub"
    bind: Annotated[str, Meta(description="Tunnel address to listen on; not 0.0.0.0")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of ingest, of logins and, later, of DICOMweb and the board")] = 8090
    data: Annotated[str, Meta(description="Directory of uploads, archive and, by default, the index")] = (
        "/var/lib/appliance-hub"
    )
    database_url: Annotated[
        str, Meta(description="SQLAlchemy URL of the index; empty: SQLite in the data directory")
    ] = ""
    archive: Annotated[
        str, Meta(pattern=r"^(as-received|jpeg2000)$", description="How instances are kept: as-received or jpeg2000")
    ] = "as-received"
    reserve_bytes: Annotated[int, Meta(ge=MIB, description="Bytes of disk kept free; below it uploads wait")] = GIB


class Objects(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the archive's objects are: in the hub's data directory, or in a bucket of S3 storage."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,8}/?)?$",
            description="s3://bucket/prefix; empty: the data directory",
        ),
    ] = ""
    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?/?)?$",
            description="URL of the S3 server; empty: that of AWS. http only to an address that is not public",
        ),
    ] = ""
    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}$", description="Region of the bucket")] = "us-east-1"
    key_file: Annotated[str, Meta(description="File with two lines: access key ID, secret access key; mode 640")] = ""
    ca_file: Annotated[
        str,
        Meta(description="PEM file of the authorities of its certificate; empty: the usual ones"),
    ] = ""
    renditions_bytes: Annotated[
        int, Meta(ge=0, description="Bytes of what is kept in transfer syntaxes made for viewers and PACS, at most")
    ] = 32 * GIB


class HubLimits(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ceilings for each site."""

    parcel_bytes_max: Annotated[int, Meta(ge=MIB, description="Largest parcel accepted, in bytes")] = 16 * GIB
    uploads_max: Annotated[Count, Meta(description="Open uploads of one site")] = 64
    partial_bytes_max: Annotated[int, Meta(ge=MIB, description="Bytes of open uploads of one site")] = 64 * GIB
    upload_days: Annotated[
        Days, Meta(description="An upload that got no byte in so many days of the hub being up is removed")
    ] = 60.0
    silence_seconds: Annotated[
        Seconds, Meta(description="A request whose peer is silent this long is ended; its upload stays")
    ] = 120.0
    requests_max: Annotated[Count, Meta(description="Requests of one site at once")] = 16


class PacsPeer(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A viewer or PACS that may ask the hub over DICOM. One [[pacs.peers]] table each."""

    name: Annotated[str, Meta(min_length=1, max_length=64, description="Name shown to people, e.g. Reading room 1")]
    ae_title: Annotated[AeTitle, Meta(description="Calling AE title that it uses")]
    network: Annotated[str, Meta(description="Its address or network, e.g. 10.1.0.20 or 10.1.0.0/24")]
    sites: Annotated[tuple[SiteId, ...], Meta(description="Sites whose studies it sees; none named: all")] = ()

    @property
    def networks(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The addresses that may use this entry."""
        return ipaddress.ip_network(self.network, strict=False)


class Pacs(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hub's DICOM listener for viewers and PACS. It listens when there are peers."""

    ae_title: Annotated[AeTitle, Meta(description="AE title of the hub")] = "HUB"
    bind: Annotated[str, Meta(description="Address to listen on; not 0.0.0.0")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of plain DICOM")] = 11113
    tls_port: Annotated[Port, Meta(description="Port of DICOM TLS (PS3.15 B.12); 0: no TLS listener")] = 0
    tls_certificate: Annotated[str, Meta(description="PEM file with the certificate chain of the hub")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its private key")] = ""
    tls_client_ca: Annotated[
        str, Meta(description="PEM file of the authorities whose client certificates are accepted; empty: none asked")
    ] = ""
    max_pdu_bytes: Annotated[int, Meta(ge=16384, le=MIB, description="Largest PDU accepted, in bytes")] = 262144
    max_associations: Annotated[int, Meta(ge=1, le=32, description="Open associations in all")] = 24
    max_associations_per_peer: Annotated[Count, Meta(description="Open associations of one address")] = 6
    pdu_seconds: Annotated[Seconds, Meta(description="A PDU that started must be whole within this time")] = 15.0
    idle_seconds: Annotated[Seconds, Meta(description="A silent association is aborted after this time")] = 60.0
    handshake_seconds: Annotated[
        Seconds, Meta(description="TLS handshake and association request must be done within this time")
    ] = 5.0
    answers_max: Annotated[Count, Meta(description="Answers to one C-FIND; what has more is to be asked narrower")] = (
        100_000
    )
    peers: Annotated[tuple[PacsPeer, ...], Meta(description="Viewers and PACS that may ask; others are refused")] = ()


class Staff(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People and viewers that log in to the hub, on the hub's own listener."""

    session_hours: Annotated[float, Meta(gt=0, le=168, description="A login lasts this long without use")] = 12.0
    https: Annotated[
        bool, Meta(description="People come by HTTPS, through a proxy: cookies are given to HTTPS alone")
    ] = False
    proxies: Annotated[
        tuple[str, ...],
        Meta(max_length=16, description="Addresses of these proxies; their X-Forwarded-For says who asks"),
    ] = ()


class HubConfig(_Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file of a hub."""

    hub: HubServer = HubServer()
    objects: Objects = Objects()
    pacs: Pacs = Pacs()
    staff: Staff = Staff()
    limits: HubLimits = HubLimits()
    compress: Compress = Compress()

    @property
    def data(self) -> Path:
        """The data directory."""
        return Path(self.hub.data)


_Config = TypeVar("_Config", UnitConfig, HubConfig)


def load_unit(path: Path) -> UnitConfig:
    """Reads and checks a unit's file. Raises ConfigError naming file, line and key."""
    config = _load(path, UnitConfig)
    _check_unit(config, path)
    return config


def load_hub(path: Path) -> HubConfig:
    """Reads and checks a hub's file. Raises ConfigError naming file, line and key."""
    config = _load(path, HubConfig)
    _check_hub(config, path)
    return config


def read_secret(config: UnitConfig) -> str:
    """The site's secret. Raises ConfigError when the file is missing, empty, or readable by everyone."""
    if not config.hub.secret_file:
        raise ConfigError("hub.secret_file is not set", hint="Set it to the file that holds the secret the hub gave.")
    path = Path(config.hub.secret_file)
    try:
        mode = path.stat().st_mode
        secret = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"hub.secret_file: {path} can't be read ({getattr(error, 'strerror', None) or error})",
            hint="Ask the hub for this site's secret (`appliance hub site add`), put it there, and chmod 640.",
        ) from error
    if mode & 0o007:
        raise ConfigError(f"hub.secret_file: {path} is readable by everyone", hint=f"Run: chmod 640 {path}")
    if not secret:
        raise ConfigError(f"hub.secret_file: {path} is empty")
    return secret


def _load(path: Path, kind: type[_Config]) -> _Config:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: brackets are nested too deeply") from error
    except msgspec.ValidationError as error:
        line, key = _locate(text, str(error))
        raise ConfigError(f"{path}:{line}: {key}: {error}") from error


_AT_PATH = re.compile(r"`\$((?:\.\w+|\[\d+\])*)`")
_UNKNOWN = re.compile(r"unknown field `(\w+)`")


def _locate(text: str, problem: str) -> tuple[int, str]:
    """The line and dotted key that a validation error speaks of; line 1 when it can't be told."""
    at = _AT_PATH.search(problem)
    unknown = _UNKNOWN.search(problem)
    keys = re.findall(r"\w+", at.group(1)) if at else []
    if unknown:
        keys.append(unknown.group(1))
    return _line_of(text, keys), ".".join(keys)


def _line_of(text: str, keys: list[str]) -> int:
    names = [key for key in keys if not key.isdigit()]
    entry = next((int(key) for key in keys if key.isdigit()), 0)
    section, key = ".".join(names[:-1]), names[-1] if names else ""
    current, seen, start = "", -1, 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if table := re.match(r"^\[+\s*([\w.]+)\s*\]+", stripped):
            current = table.group(1)
            if current in {section, ".".join(names)}:
                seen += stripped.startswith("[[")
                if seen in {-1, entry}:
                    start = number
        elif current == section and seen in {-1, entry} and re.match(rf"^{re.escape(key)}\s*=", stripped):
            return number
    return start


def _wrong(path: Path, keys: list[str], problem: str) -> ConfigError:
    line = _line_of(path.read_text("utf-8"), keys)
    return ConfigError(f"{path}:{line}: {'.'.join(keys)}: {problem}")


def _check_hub(config: HubConfig, path: Path) -> None:
    """What one key can't tell by itself."""
    for number, peer in enumerate(config.pacs.peers):
        try:
            _ = peer.networks
        except ValueError as error:
            raise _wrong(path, ["pacs", "peers", str(number), "network"], str(error)) from error
    if config.pacs.tls_port and not (config.pacs.tls_certificate and config.pacs.tls_key):
        raise _wrong(path, ["pacs", "tls_port"], "a TLS listener needs tls_certificate and tls_key")
    if config.objects.url and not config.objects.key_file:
        raise _wrong(path, ["objects", "url"], "S3 storage needs objects.key_file")
    if config.objects.endpoint.startswith("http://") and not _is_inside(config.objects.endpoint):
        raise _wrong(path, ["objects", "endpoint"], "http only to an address that is not public; elsewhere https")


def _is_inside(url: str) -> bool:
    """Whether it names a private or loopback address. A name proves nothing: who answers for it may change."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # brackets around what is no address
        return False
    return host == "localhost" or (is_address(host) and not ipaddress.ip_address(host).is_global)


def _check_unit(config: UnitConfig, path: Path) -> None:
    """What one key can't tell by itself."""

    def wrong(keys: list[str], problem: str) -> ConfigError:
        return _wrong(path, keys, problem)

    for number, modality in enumerate(config.dicom.modalities):
        try:
            _ = modality.networks
        except ValueError as error:
            raise wrong(["dicom", "modalities", str(number), "network"], str(error)) from error
    try:
        ZoneInfo(config.site.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: a name that no file can have
        raise wrong(["site", "timezone"], f"there is no time zone {config.site.timezone!r}") from error
    if config.dicom.tls_port and not (config.dicom.tls_certificate and config.dicom.tls_key):
        raise wrong(["dicom", "tls_port"], "a TLS listener needs tls_certificate and tls_key")
    for keys, problem in _problems_of_tunnel(config):
        raise wrong(keys, problem)


def _problems_of_tunnel(config: UnitConfig) -> Iterator[tuple[list[str], str]]:
    """What does not fit together: keys, and why."""
    tunnel = config.tunnel
    if tunnel.endpoint:
        try:
            split_endpoint(tunnel.endpoint)
        except ValueError as error:
            yield ["tunnel", "endpoint"], str(error)
        if not tunnel.peer:
            yield ["tunnel", "peer"], "the hub's public key is needed with an endpoint"
        if not config.hub.interface:
            yield ["hub", "interface"], "must name the tunnel when there is tunnel.endpoint"
    for address in tunnel.resolvers:
        if not is_address(address):
            yield ["tunnel", "resolvers"], f"{address!r} is no IP address"
    yield from _problems_of_uplinks(config)


def _problems_of_uplinks(config: UnitConfig) -> Iterator[tuple[list[str], str]]:
    names = [uplink.name for uplink in config.link.uplinks]
    for number, uplink in enumerate(config.link.uplinks):
        at = ["link", "uplinks", str(number)]
        if names.index(uplink.name) != number:
            yield [*at, "name"], f"there are two uplinks {uplink.name!r}"
        if uplink.device and uplink.device == config.hub.interface:
            yield [*at, "device"], "an uplink can't be the tunnel itself"
        if uplink.gateway and not is_address(uplink.gateway):
            yield [*at, "gateway"], f"{uplink.gateway!r} is no IP address"
        if config.tunnel.endpoint and len(names) > 1 and not (uplink.device or uplink.gateway):
            yield [*at, "device"], "one of several uplinks needs its device or gateway"


def priority_of(modality: Modality | None) -> Priority:
    """The priority that a study from this modality starts with."""
    return Priority.from_word(modality.priority) if modality else Priority.ROUTINE


def write_commented(kind: type[_Config], values: dict[str, Any] | None = None) -> str:
    """The text of a configuration file with every key, its meaning and its default; `values` overrides defaults.

    `values` maps dotted keys to values: `{"site.id": "mangochi"}`.
    """
    given = values or {}
    blocks = []
    for section in msgspec.structs.fields(kind):
        default = section.default
        lines = [f"# {(type(default).__doc__ or '').strip()}", f"[{section.name}]"]
        rows = {name for name, _, _ in ROWS.get(section.name, ())}
        for field, meaning in describe(type(default)):
            value = given.get(f"{section.name}.{field.name}", getattr(default, field.name))
            if field.name not in rows:
                lines += [f"# {meaning}.", f"{field.name} = {_toml(value)}"]
        blocks.append("\n".join(lines))
        blocks += [_example(section.name, *entry) for entry in ROWS.get(section.name, ())]
    return "\n\n".join(blocks) + "\n"


def describe(kind: type[msgspec.Struct]) -> list[tuple[msgspec.structs.FieldInfo, str]]:
    """The keys of a table of the file, each with its meaning."""
    described = []
    for field in msgspec.structs.fields(kind):
        metas = [m for m in getattr(field.type, "__metadata__", ()) if isinstance(m, Meta) and m.description]
        described.append((field, str(metas[-1].description) if metas else field.name))
    return described


# Sections that hold tables of their own, and a value that shows what may stand there.
ROWS: dict[str, tuple[tuple[str, type[_Section], dict[str, object]], ...]] = {
    "dicom": (
        (
            "modalities",
            Modality,
            {
                "name": "CT room 1",
                "ae_title": "CT1",
                "network": "192.168.1.20",
                "settle_seconds": 120.0,
                "report_port": 104,
            },
        ),
    ),
    "pacs": (("peers", PacsPeer, {"name": "Reading room 1", "ae_title": "VIEWER1", "network": "10.1.0.20"}),),
    "link": (
        ("windows", LinkWindow, {"opens": "20:00", "closes": "06:00"}),
        ("uplinks", LinkUplink, {"name": "SIM", "device": "wwan0", "monthly_mb": 5000, "stat_extra_mb": 1000}),
    ),
}


def _example(section: str, name: str, kind: type[_Section], example: dict[str, object]) -> str:
    lines = [f"# # {(kind.__doc__ or '').strip()}", f"# [[{section}.{name}]]"]
    for field, meaning in describe(kind):
        lines += [f"# # {meaning}.", f"# {field.name} = {_toml(example.get(field.name, field.default))}"]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return _toml_text(value) if isinstance(value, str) else repr(value)


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c for c in escaped) + '"'
