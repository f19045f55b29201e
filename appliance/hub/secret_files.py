"""Secrets that a command makes, in a file instead of on the screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from appliance.errors import UsageError

secret_file_option: Final = click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the secret to this new file, which only you can read, and print nothing of it.",
)


def write_secret(path: Path, secret: str) -> None:
    """Writes it to a file of mode 600 that is not there yet. Raises UsageError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
    except OSError as error:
        hint = "Name a file that is not there yet, in a directory that you may write."
        raise UsageError(f"{path} can't be written: {error.strerror}", hint=hint) from error
