"""What an answer of an S3 server, or its silence, means for us; and the words for it, which hold no value of its own
but a code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from appliance.errors import ApplianceError, DiskFullError, StoreError, StoreRefusedError

_NO_ROOM: Final = {
    "InsufficientStorage",
    "QuotaExceeded",
    "StorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_LATER: Final = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "TooManyRequests"}
_WORD: Final = re.compile(r"[A-Za-z0-9.]{1,64}", re.ASCII)
_FULL: Final = "Give the bucket more room or raise its quota; what waits goes on by itself."
# A server that dies in the middle of an answer leaves half of it.
FAULTS: Final = (ClientError, BotoCoreError, HTTPError, ResponseParserError)


def code_of(error: ClientError) -> str:
    """The server's own word, when it is one; else its HTTP status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _WORD.fullmatch(code) else str(status_of(error))


def status_of(error: ClientError) -> int:
    """The HTTP status; 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: ClientError) -> bool:
    """Whether the object is not there; a bucket that is not there is another thing."""
    return code_of(error) in {"NoSuchKey", "404"}


def is_taken(error: ClientError) -> bool:
    """Whether a conditional request met an object that is there (RFC 9110 13.1.2)."""
    return status_of(error) == 412


def fault_of(error: Exception) -> ApplianceError:
    """DiskFullError, StoreRefusedError for what trying again does not mend, or StoreError."""
    if not isinstance(error, ClientError):
        return StoreError(f"The object store can't be reached ({type(error).__name__})")
    code, status = code_of(error), status_of(error)
    if code in _NO_ROOM or status == 507:
        return DiskFullError("The object store has no room left", hint=_FULL)
    if code in _LATER or status == 429 or (status >= 500 and status != 501):
        return StoreError(f"The object store can't answer now ({code})")
    return StoreRefusedError(f"The object store refuses ({code})")


def field(answer: dict[str, Any], name: str) -> Any:
    """What every such answer has. Raises StoreError when this one does not: a proxy's page, or a torn one."""
    if not answer.get(name):
        raise StoreError(f"The object store's answer lacks {name}")
    return answer[name]


@contextmanager
def translated() -> Iterator[None]:
    """Gives the faults of the library below it as ours."""
    try:
        yield
    except FAULTS as error:
        raise fault_of(error) from error
