"""Every error that a person may meet: one root, a stable id, an exit code, and what to do next.

The class docstring is the default message. The command line, the page and the log show the same `id` and `hint`, so
that a radiographer on the telephone and a field engineer at a shell name the same thing.
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Something went wrong on this box."""

    id = "E000"
    exit_code = 1
    hint = "Run `appliance doctor`; it lists what is wrong and what to do."

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        if hint is not None:
            self.hint = hint

    @property
    def message(self) -> str:
        """The sentence that a person reads; it never holds patient data."""
        return str(self.args[0])


class ConfigError(ApplianceError):
    """The configuration file can't be used."""

    id = "E101"
    exit_code = 2
    hint = "Mend the named line, or write a fresh file with `appliance init`."


class MissingPackagesError(ApplianceError):
    """The packages that a hub needs are not installed here."""

    id = "E102"
    exit_code = 2
    hint = "Install them: pip install 'appliance[hub]'. A unit does not need them."


class UsageError(ApplianceError):
    """That can't be done as asked."""

    id = "E103"
    exit_code = 2
    hint = "Add --help to the command to see what it takes."


class DatabaseError(ApplianceError):
    """The database on this box can't be opened or written."""

    id = "E201"
    exit_code = 3
    hint = "Check that the disk is not full and that the data directory belongs to this user (`appliance doctor`)."


class DiskFullError(ApplianceError):
    """The disk is nearly full, so nothing more is accepted."""

    id = "E202"
    exit_code = 3
    hint = "Studies that are verified at the hub leave by themselves; bring the line up, or add a larger disk."


class DamagedFileError(ApplianceError):
    """This box's copy of an instance is damaged."""

    id = "E203"
    exit_code = 4
    hint = "Send the study again from the modality; then have the disk checked."


class SpoolError(ApplianceError):
    """The disk of this box can't be written or read."""

    id = "E204"
    exit_code = 3
    hint = "Check the cable and health of the disk (`appliance doctor`); a dying disk must be replaced now."


class ListenError(ApplianceError):
    """An address can't be listened on."""

    id = "E205"
    exit_code = 3
    hint = "See that the address belongs to this machine and that no other program has the port (`ss -ltnp`)."


class UnreadableFileError(ApplianceError):
    """A file that is to be sent can't be read now."""

    id = "E206"
    exit_code = 3
    hint = (
        "It is tried again by itself. See that all of the data directory belongs to the user that runs the unit, and "
        "have the disk checked (`journalctl -k`)."
    )


class ClockError(ApplianceError):
    """The clock of this box can't be set to the time that was kept."""

    id = "E207"
    exit_code = 3
    hint = "Set it by hand: date --set 'YYYY-MM-DD hh:mm:ss', or timedatectl set-ntp true."


class StoreError(ApplianceError):
    """The hub's object store can't be reached now."""

    id = "E208"
    exit_code = 3
    hint = "See that the server of `objects.url` runs and is reached from here; what waits for it goes on by itself."


class StoreRefusedError(ApplianceError):
    """The hub's object store does not do what it is asked."""

    id = "E209"
    exit_code = 3
    hint = (
        "Check `[objects]`: the bucket, the region, and whether the keys of `key_file` may read, write and list there."
    )


class RenditionError(ApplianceError):
    """An instance can't be given in another transfer syntax."""

    id = "E210"
    exit_code = 4
    hint = "Let the viewer or PACS accept the transfer syntax in which the instance came; it is given as stored then."


class DicomError(ApplianceError):
    """These bytes are not a DICOM data set that can be identified."""

    id = "E301"
    exit_code = 4
    hint = "Export the images again from the modality as DICOM, and send those."


class UpperLayerError(DicomError):
    """The other side breaks the rules of the DICOM network protocol."""

    id = "E302"
    hint = "Check that the other side is a DICOM device and uses this port; its service engineer can see its log."


class MismatchError(DicomError):
    """An object is not the one that the modality announced."""

    id = "E303"
    hint = "Send it again; if that does not help, the modality's service engineer must mend its DICOM output."


class TooLargeError(DicomError):
    """An object is larger than this box accepts."""

    id = "E304"
    hint = "Raise `dicom.max_object_bytes` in the configuration if such objects are expected."


class ParcelError(ApplianceError):
    """A parcel is damaged or breaks the format."""

    id = "E401"
    exit_code = 4
    hint = "Nothing to do: the unit packs these instances anew and sends them again."


class UnknownDictionaryError(ParcelError):
    """A parcel names a header dictionary that the hub does not hold."""

    id = "E402"


class PackingError(ApplianceError):
    """An instance can't be packed."""

    id = "E403"
    exit_code = 4
    hint = "Press “Send again”; if it comes back, send the study again from the modality and have the log looked at."


class SandboxError(ApplianceError):
    """The walls around the processes that touch foreign bytes can't be put up."""

    id = "E404"
    exit_code = 3
    hint = "Install the package libseccomp2; the kernel must have seccomp filters (every Debian kernel has)."


class LinkError(ApplianceError):
    """The hub can't be reached now."""

    id = "E501"
    exit_code = 5
    hint = "Nothing to do: sending goes on by itself when the line is back."


class HubRefusedError(ApplianceError):
    """The hub does not accept this unit."""

    id = "E502"
    exit_code = 5
    hint = "Ask the hub for a new site secret (`appliance hub site renew`) and put it into the secret file."


class HubBusyError(ApplianceError):
    """The hub has no room for more now."""

    id = "E503"
    exit_code = 5
    hint = "Tell the hub that its disk or quota is full; sending goes on by itself when there is room."


class HubFaultError(ApplianceError):
    """The hub's answers do not fit what was sent, so nothing that they claim is believed."""

    id = "E504"
    exit_code = 5
    hint = "Tell the hub's engineer; the images stay safe on this box and are sent again."


class NotFoundError(ApplianceError):
    """There is no such thing here."""

    id = "E601"
    exit_code = 6
    hint = "List what is here with `appliance status` or `appliance hub list`."


class UserError(ApplianceError):
    """This user of the page can't be added or changed so."""

    id = "E701"
    exit_code = 2
    hint = "Choose another name or PIN."


def every_error() -> list[type[ApplianceError]]:
    """All classes of this file, by id."""
    return sorted((kind for kind in _below(ApplianceError) if kind.__module__ == __name__), key=lambda kind: kind.id)


def error_of(error_id: str) -> type[ApplianceError]:
    """The class that has this id; the root class for an id that is not known here."""
    return next((kind for kind in every_error() if kind.id == error_id), ApplianceError)


def _below(kind: type[ApplianceError]) -> list[type[ApplianceError]]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _below(sub))]
