"""Our sender against somebody else's tus 1.0 server (npm `@tus/server`), over a line that is cut everywhere."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fault_proxy import Fault, FaultProxy

from appliance.config import Uplink
from appliance.errors import LinkError
from appliance.link.tunnel import find_way
from appliance.store_forward.transport import Body, HubClient, Pacer
from appliance.upload.client import State, Upload
from appliance.upload.headers import parcel_metadata

PEER = Path(__file__).parents[1] / "peers" / "tus"
FILE = random.Random(7).randbytes(400_000)


@pytest.fixture(scope="module")
def peer() -> Path:
    """The server's packages, as its lock file names them."""
    if not (PEER / "node_modules" / "@tus" / "server").is_dir():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=PEER, check=True, capture_output=True, timeout=240)
    return PEER


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def line(peer: Path, files: Path) -> Iterator[FaultProxy]:
    command = ["node", "server.js", str(files)]
    with subprocess.Popen(command, cwd=peer, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stdin
        proxy = FaultProxy(int(server.stdout.readline()))
        yield proxy
        proxy.close()
        server.stdin.close()
        server.wait(10)


async def send(line: FaultProxy, file: Path, upload: Upload, *, stop_after: int | None = None) -> list[str]:
    """Sends a file as `forward` does; returns what was asked and where each body began."""
    uplink = Uplink(url=line.url, stall_seconds=1.0)
    hub = HubClient(find_way(uplink), uplink, "nobody.asks")
    measure = asyncio.create_task(hub.measure())
    asked, opened = [], os.open(file, os.O_RDONLY)
    try:
        for _ in range(40):
            request = upload.next_request()
            if request is None:
                break
            asked.append(f"{request.method} {request.headers.get('Upload-Offset', '')}".strip())
            try:
                if request.offset is None:
                    answer, _ = await hub.ask(request, seconds=3.0)
                else:
                    body = Body(opened, request.offset, upload.length, pacer=Pacer(tunnel=False), on_end=lambda: None)
                    streaming = asyncio.create_task(hub.stream(request, body))
                    while stop_after is not None and body.sent < stop_after and not streaming.done():
                        await asyncio.sleep(0)
                    if stop_after is not None:
                        body.stop()
                        stop_after = None
                    answer = await streaming
            except LinkError:
                upload.cut()
            else:
                upload.receive(answer)
            if upload.state is State.LOST:
                upload.restart()
    finally:
        measure.cancel()
        os.close(opened)
        await hub.close()
    return asked


def new_upload() -> Upload:
    return Upload("/files", length=len(FILE), metadata=parcel_metadata("ab" * 32, "routine"))


def run(line: FaultProxy, tmp_path: Path, upload: Upload, *, stop_after: int | None = None) -> list[str]:
    (tmp_path / "file").write_bytes(FILE)
    return asyncio.run(send(line, tmp_path / "file", upload, stop_after=stop_after))


def held(files: Path) -> set[bytes]:
    """The files of the server that are not empty: it opens two when the answer to a POST was lost."""
    return {data for path in files.iterdir() if path.suffix != ".json" and (data := path.read_bytes())}


def test_a_file_is_sent_in_one_go(line: FaultProxy, files: Path, tmp_path: Path) -> None:
    upload = new_upload()
    assert run(line, tmp_path, upload) == ["POST", "PATCH 0"]
    assert upload.state is State.FINISHED
    assert held(files) == {FILE}


def test_a_body_that_is_told_to_stop_ends_cleanly_and_the_rest_goes_from_there(
    line: FaultProxy, files: Path, tmp_path: Path
) -> None:
    asked = run(line, tmp_path, new_upload(), stop_after=100_000)
    assert asked[:2] == ["POST", "PATCH 0"]
    assert len(asked) == 3
    assert 100_000 <= int(asked[2].removeprefix("PATCH ")) < 200_000
    assert held(files) == {FILE}


CUTS = {
    "the request line of the POST": Fault("up", 6, b"POST /files"),
    "the metadata": Fault("up", 20, b"Upload-Metadata: "),
    "the answer to the POST": Fault("down", 5, b"HTTP/1.1 201"),
    "the headers of the PATCH": Fault("up", 9, b"Upload-Offset: "),
    "the first byte": Fault("up", 1, FILE[:16]),
    "the middle": Fault("up", len(FILE) // 2, FILE[:16]),
    "the last byte": Fault("up", 15, FILE[-16:], hard=True),
    "the answer to the PATCH": Fault("down", 12, b"HTTP/1.1 204"),
    "a stall in the middle": Fault("up", len(FILE) // 3, FILE[:16], what="stall"),
}


@pytest.mark.parametrize("where", CUTS)
def test_a_cut_anywhere_is_overcome(line: FaultProxy, files: Path, tmp_path: Path, where: str) -> None:
    fault = line.lay(CUTS[where])
    upload = new_upload()
    asked = run(line, tmp_path, upload)
    assert fault.sprung.is_set()
    assert upload.state is State.FINISHED
    assert held(files) == {FILE}
    for before, after in itertools.pairwise(asked):
        assert not (before.startswith("PATCH") and after.startswith("PATCH")), "it was not asked what arrived"


def test_a_file_that_the_server_removed_is_sent_anew(line: FaultProxy, files: Path, tmp_path: Path) -> None:
    upload = Upload("/files", length=len(FILE), metadata=new_upload().metadata, target="/files/gone", offset=5000)
    assert run(line, tmp_path, upload) == ["HEAD", "POST", "PATCH 0"]
    assert held(files) == {FILE}
