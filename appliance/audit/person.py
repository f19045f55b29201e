"""Who works at a shell."""

from __future__ import annotations

import getpass
import os


def person() -> str:
    """The login name of who runs this, also behind sudo."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user that the system has no name for
        user = str(os.getuid())
    behind_sudo = os.environ.get("SUDO_USER")
    return f"{behind_sudo} as {user}" if behind_sudo else user
