"""Makes the client of an S3 server, from the configuration alone: no environment, no files of other tools, no proxy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import botocore.config
import botocore.session

from appliance.config import Objects
from appliance.errors import ConfigError

CONNECTIONS: Final = 12
_TRIES: Final = 3  # of one request, with pauses of some seconds at most; then whoever asked decides
_CONNECT_SECONDS: Final = 5
_SILENCE_SECONDS: Final = 30
_KEY: Final = re.compile(r"[\x21-\x7e]{1,256}")


def make_client(objects: Objects) -> Any:
    """Nothing is asked of the server yet. Raises ConfigError when the keys can't be read, or the authorities."""
    key, secret = read_keys(Path(objects.key_file))
    if objects.ca_file and not os.access(objects.ca_file, os.R_OK):
        raise ConfigError(f"objects.ca_file: {objects.ca_file} can't be read")
    session = botocore.session.Session()
    for file in ("config_file", "credentials_file"):
        session.set_config_variable(file, os.devnull)
    return session.create_client(
        "s3",
        region_name=objects.region,
        endpoint_url=objects.endpoint or None,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=objects.ca_file or True,
        config=_options(objects),
    )


def _options(objects: Objects) -> Any:
    """The body is part of what is signed, so that each server compares it; other checksums not every server knows."""
    return botocore.config.Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_SILENCE_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        proxies={},
        ignore_configured_endpoint_urls=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={
            "addressing_style": "path" if objects.endpoint else "auto",
            "payload_signing_enabled": True,
            "us_east_1_regional_endpoint": "regional",
        },
    )


def read_keys(path: Path) -> tuple[str, str]:
    """Access key ID and secret access key, each a line of the file. Raises ConfigError, which holds neither."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise ConfigError(f"objects.key_file: {path} can't be read ({reason})", hint=_TWO_LINES) from error
    if mode & 0o007:
        raise ConfigError(f"objects.key_file: {path} is readable by everyone", hint=f"Run: chmod 640 {path}")
    if len(lines) != 2 or not all(_KEY.fullmatch(line) for line in lines):
        raise ConfigError(f"objects.key_file: {path} has not two lines", hint=_TWO_LINES)
    return lines[0], lines[1]


_TWO_LINES: Final = "Put the access key ID on the first line, the secret access key on the second, and chmod 640."
