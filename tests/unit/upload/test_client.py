"""The sender of an upload: every answer in every state leads where the table says, never past what the hub holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.retry import Fault
from appliance.upload.client import TRANSITIONS, Answer, Event, ProtocolError, State, Upload

LENGTH = 1000
UNDER_WAY = {State.CREATING, State.ASKING, State.SENDING}


def new_upload(**given_: object) -> Upload:
    values: dict[str, object] = {"length": LENGTH, "metadata": "parcel YWI=", **given_}
    return Upload("/v1/uploads", **values)  # type: ignore[arg-type]


def answer(status: int, **headers: object) -> Answer:
    return Answer(
        status=status, headers={name.replace("_", "-").lower(): str(value) for name, value in headers.items()}
    )


def in_state(state: State) -> Upload:
    """An upload brought there by what a hub may say."""
    upload = new_upload() if state in {State.NEW, State.CREATING} else new_upload(target="/v1/uploads/7", offset=10)
    if state in {State.CREATING, State.ASKING, State.READY, State.SENDING, State.FINISHED, State.LOST, State.REJECTED}:
        upload.next_request()
    if state is State.LOST:
        upload.receive(answer(404))
    if state in {State.READY, State.SENDING, State.FINISHED, State.REJECTED}:
        upload.receive(answer(200, Upload_Offset=10))
    if state in {State.SENDING, State.FINISHED, State.REJECTED}:
        upload.next_request()
    if state is State.FINISHED:
        upload.receive(answer(204, Upload_Offset=LENGTH))
    if state is State.REJECTED:
        upload.receive(answer(413))
    assert upload.state is state
    return upload


def test_an_upload_is_created_sent_and_finished() -> None:
    upload = new_upload()
    post = upload.next_request()
    assert post is not None
    assert (post.method, post.target, post.headers["Upload-Length"]) == ("POST", "/v1/uploads", "1000")
    assert upload.next_request() is None, "an answer is awaited"
    assert upload.receive(answer(201, Location="/v1/uploads/7", Upload_Offset=0)) is None
    patch = upload.next_request()
    assert patch is not None
    assert (patch.method, patch.target, patch.offset, patch.headers["Upload-Offset"]) == (
        "PATCH",
        "/v1/uploads/7",
        0,
        "0",
    )
    assert upload.receive(answer(204, Upload_Offset=1000)) is None
    assert upload.state is State.FINISHED
    assert upload.next_request() is None


def test_the_same_parcel_created_again_goes_on_where_the_hub_is() -> None:
    upload = new_upload()
    upload.next_request()
    upload.receive(answer(201, Location="/v1/uploads/7", Upload_Offset=640))
    patch = upload.next_request()
    assert patch is not None
    assert patch.offset == 640


def test_a_parcel_that_the_hub_holds_already_is_not_sent() -> None:
    upload = new_upload()
    upload.next_request()
    upload.receive(answer(201, Location="/v1/uploads/7", Upload_Offset=LENGTH))
    assert upload.state is State.FINISHED


def test_a_server_that_is_silent_about_the_offset_of_a_new_upload_has_nothing() -> None:
    upload = new_upload()
    upload.next_request()
    assert upload.receive(answer(201, Location="files/7")) is None
    assert (upload.offset, upload.target) == (0, "/v1/files/7")


@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_after_a_cut_the_hub_is_asked_before_a_byte_goes(state: State) -> None:
    upload = in_state(state)
    assert upload.cut() is Fault.LINK
    request = upload.next_request()
    assert request is not None
    assert request.method == ("POST" if state is State.CREATING else "HEAD")


def test_an_upload_of_an_earlier_life_is_asked_for_first() -> None:
    request = new_upload(target="/v1/uploads/7", offset=500).next_request()
    assert request is not None
    assert (request.method, request.target) == ("HEAD", "/v1/uploads/7")


@pytest.mark.parametrize(
    ("state", "status", "then", "fault"),
    [
        (State.SENDING, 409, State.UNSURE, Fault.LINK),
        (State.SENDING, 404, State.LOST, None),
        (State.SENDING, 410, State.LOST, None),
        (State.ASKING, 404, State.LOST, None),
        (State.ASKING, 400, State.LOST, Fault.CONTENT),
        (State.CREATING, 404, State.NEW, Fault.REFUSED),
        (State.CREATING, 413, State.REJECTED, Fault.CONTENT),
        (State.SENDING, 413, State.REJECTED, Fault.CONTENT),
        (State.SENDING, 400, State.REJECTED, Fault.CONTENT),
        (State.SENDING, 460, State.UNSURE, Fault.CONTENT),
        (State.SENDING, 401, State.UNSURE, Fault.REFUSED),
        (State.CREATING, 403, State.NEW, Fault.REFUSED),
        (State.ASKING, 401, State.UNSURE, Fault.REFUSED),
        (State.SENDING, 412, State.UNSURE, Fault.REFUSED),
        (State.SENDING, 423, State.UNSURE, Fault.BUSY),
        (State.CREATING, 429, State.NEW, Fault.BUSY),
        (State.CREATING, 507, State.NEW, Fault.BUSY),
        (State.SENDING, 500, State.UNSURE, Fault.BUSY),
        (State.SENDING, 503, State.UNSURE, Fault.BUSY),
        (State.SENDING, 302, State.UNSURE, Fault.LINK),
        (State.CREATING, 307, State.NEW, Fault.LINK),
    ],
)
def test_every_refusal_is_told_apart(state: State, status: int, then: State, fault: Fault | None) -> None:
    upload = in_state(state)
    assert upload.receive(answer(status, Location="https://elsewhere.example/x")) is fault
    assert upload.state is then


@pytest.mark.parametrize("value", ["", "-1", "1001", "9" * 30, "ten", "1 "])
@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_an_offset_that_can_not_be_is_no_answer(state: State, value: str) -> None:
    upload = in_state(state)
    before = upload.offset
    assert upload.receive(answer(200, Location="/v1/uploads/7", Upload_Offset=value)) is Fault.LINK
    assert upload.offset == before
    assert upload.state is TRANSITIONS[state, Event.DOUBT]


def test_a_hub_that_was_restored_and_holds_less_gets_the_rest_again() -> None:
    upload = in_state(State.SENDING)
    upload.cut()
    upload.next_request()
    upload.receive(answer(200, Upload_Offset=3))
    patch = upload.next_request()
    assert patch is not None
    assert patch.offset == 3


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("http://hub.example:99/v1/uploads/a", "/v1/uploads/a"),
        ("//elsewhere.example/v1/uploads/a", "/v1/uploads/a"),
        ("../files/a?x=1", "/files/a?x=1"),
        ("/v1/uploads/a#part", "/v1/uploads/a"),
    ],
)
def test_a_location_is_only_ever_a_path_at_our_hub(location: str, target: str) -> None:
    upload = new_upload()
    upload.next_request()
    upload.receive(answer(201, Location=location))
    assert upload.target == target


@pytest.mark.parametrize("location", [None, "", "x" * 3000, "/a b", "/a\r\nHost: x", "/é", "http://[", 'http://h/"'])
def test_a_location_that_is_no_path_is_no_answer(location: str | None) -> None:
    upload = new_upload()
    upload.next_request()
    headers = {} if location is None else {"location": location}
    assert upload.receive(Answer(status=201, headers=headers)) is Fault.LINK
    assert (upload.state, upload.target) == (State.NEW, "")


@pytest.mark.parametrize("state", [State.LOST, State.REJECTED, State.FINISHED])
def test_a_new_start_forgets_the_old_upload(state: State) -> None:
    upload = in_state(state)
    upload.restart()
    request = upload.next_request()
    assert request is not None
    assert (request.method, upload.offset, upload.target) == ("POST", 0, "")


@pytest.mark.parametrize("state", sorted(set(State) - UNDER_WAY))
def test_an_answer_that_nobody_waits_for_is_a_mistake_of_the_caller(state: State) -> None:
    upload = in_state(state)
    with pytest.raises(ProtocolError):
        upload.receive(answer(200))
    with pytest.raises(ProtocolError):
        upload.cut()


def test_every_state_can_be_left_but_the_end_and_every_state_can_be_reached() -> None:
    assert {before for before, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) | {State.UNSURE} == set(State)


def test_termination_names_the_upload() -> None:
    assert new_upload().terminate() is None
    request = in_state(State.READY).terminate()
    assert request is not None
    assert (request.method, request.target) == ("DELETE", "/v1/uploads/7")


class Hub:
    """One upload at a hub that keeps any part of what comes, forgets, is busy, or whose answers are lost."""

    def __init__(self) -> None:
        self.held: bytes | None = None

    def create(self) -> Answer:
        self.held = self.held or b""
        return answer(201, Location="/v1/uploads/7", Upload_Offset=len(self.held))

    def offset(self, good: int) -> Answer:
        return answer(404) if self.held is None else answer(good, Upload_Offset=len(self.held))

    def take(self, at: int, body: bytes) -> Answer:
        if self.held is None:
            return answer(404)
        if at != len(self.held):
            return answer(409)
        self.held += body
        return self.offset(204)


@given(st.lists(st.tuples(st.integers(0, LENGTH), st.sampled_from(["answer", "drop", "forget", "busy"])), max_size=60))
def test_whatever_happens_the_hub_ends_with_the_file_and_gets_no_byte_twice(steps: list[tuple[int, str]]) -> None:
    file = bytes(n % 251 for n in range(LENGTH))
    upload, hub = new_upload(), Hub()
    for part, what in [*steps, *[(LENGTH, "answer")] * 6]:
        if upload.state is State.FINISHED:
            break
        if upload.state is State.LOST:
            upload.restart()
        if what == "forget":
            hub.held = None
        request = upload.next_request()
        assert request is not None
        if what == "busy":
            assert upload.receive(answer(503)) is Fault.BUSY
            continue
        if request.method == "POST":
            said = hub.create()
        elif request.method == "HEAD":
            said = hub.offset(200)
        else:
            assert request.offset is not None
            assert hub.held is None or request.offset == len(hub.held), "a byte that the hub holds was sent again"
            said = hub.take(request.offset, file[request.offset :][:part])
        if what == "drop":
            upload.cut()
        else:
            upload.receive(said)
    if not any(what == "forget" for _, what in steps):
        assert hub.held == file
    assert upload.state is not State.FINISHED or upload.offset == LENGTH
