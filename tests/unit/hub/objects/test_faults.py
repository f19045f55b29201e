"""What an answer of an S3 server means: room, later, or never; and that no word of it but a code is passed on."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from appliance.errors import ApplianceError, DiskFullError, StoreError, StoreRefusedError
from appliance.hub.objects.faults import fault_of, translated


def answer(code: str, status: int) -> ClientError:
    response = {"Error": {"Code": code, "Message": "a message"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("XMinioStorageFull", 507, DiskFullError),
        ("QuotaExceeded", 403, DiskFullError),
        ("AnyWord", 507, DiskFullError),
        ("SlowDown", 503, StoreError),
        ("InternalError", 500, StoreError),
        ("ConditionalRequestConflict", 409, StoreError),
        ("RequestTimeout", 400, StoreError),
        ("429", 429, StoreError),
        ("AccessDenied", 403, StoreRefusedError),
        ("InvalidAccessKeyId", 403, StoreRefusedError),
        ("RequestTimeTooSkewed", 403, StoreRefusedError),
        ("NoSuchBucket", 404, StoreRefusedError),
        ("PermanentRedirect", 301, StoreRefusedError),
        ("NotImplemented", 501, StoreRefusedError),
    ],
)
def test_no_room_waits_a_busy_server_is_asked_again_and_a_refusal_is_for_a_person(
    code: str, status: int, kind: type[ApplianceError]
):
    fault = fault_of(answer(code, status))
    assert type(fault) is kind
    assert kind is DiskFullError or code in fault.message
    assert "a message" not in fault.message


def test_what_a_server_says_that_is_no_code_is_not_repeated():
    assert fault_of(answer("<script>Miller^Anna", 403)).message == "The object store refuses (403)"


def test_silence_and_a_closed_port_are_faults_of_the_line():
    for error in (EndpointConnectionError(endpoint_url="http://h/"), ReadTimeoutError(endpoint_url="http://h/")):
        with pytest.raises(StoreError, match="can't be reached"), translated():
            raise error
