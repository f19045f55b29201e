"""What may be wrong with a stick. A message never holds patient data, nor a name that was found on the stick."""

from __future__ import annotations

from appliance.errors import ApplianceError


class StickError(ApplianceError):
    """The stick can't be read or written."""

    id = "E811"
    exit_code = 3
    hint = "See that it is plugged in and mounted, then run the same command again: what is whole on it stays."


class StickFullError(StickError):
    """The stick is full."""

    id = "E812"
    hint = "Nothing is lost. Bring this stick to the hub; run the same command with another stick for the rest."


class StickRefusedError(ApplianceError):
    """What is on the stick is not accepted."""

    id = "E813"
    exit_code = 4
    hint = "Nothing is lost: the unit keeps every study until the hub has it. Export again, onto an empty stick."


class CourierKeyError(ApplianceError):
    """The key for sticks is missing or is none."""

    id = "E814"
    exit_code = 2
    hint = "At the hub run `appliance hub courier key`, and put its public key into the unit's file: [courier] hub_key."
