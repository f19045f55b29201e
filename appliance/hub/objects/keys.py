"""Keys of objects. They are ours alone: no value from a peer is in one."""

from __future__ import annotations

import re
from typing import Final

from appliance.errors import DamagedFileError

_KEY: Final = re.compile(r"archive/[0-9a-f]{2}/[0-9a-f]{32}/[0-9]{6}\.(dcm|recipe|header)", re.ASCII)


def key_of(name: str, position: int, kind: str) -> str:
    """The key of an object that a parcel brought; `name` is our name of the parcel, `kind` dcm, recipe or header.

    The same parcel checked again after a power cut gives the same keys, so what the first try left is found.
    """
    return f"archive/{name[:2]}/{name}/{position:06d}.{kind}"


def folder_of(name: str) -> str:
    """What the keys of all objects of one parcel begin with."""
    return checked(key_of(name, 0, "dcm")).rpartition("/")[0] + "/"


def checked(key: str) -> str:
    """The key itself. Raises DamagedFileError when it is not one of ours."""
    if not _KEY.fullmatch(key):
        raise DamagedFileError("The index names an object by a key that is not ours")
    return key
