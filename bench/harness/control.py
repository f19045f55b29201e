"""One JSON line asked, one answered, over a socket in the file system: namespaces of the network don't part those."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


async def serve(path: Path, answer: Callable[[Answer], Answer]) -> None:
    """Answers each line with what `answer` gives for it. Returns once it listens."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(answer(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    await asyncio.start_unix_server(one, path)


def ask(path: Path, question: Answer | None = None) -> Answer:
    """The answer to one question; the empty one asks how things stand."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.closing(client.makefile("rwb")) as stream:
        client.settimeout(10.0)
        client.connect(str(path))
        stream.write(json.dumps(question or {}).encode() + b"\n")
        stream.flush()
        found: Answer = json.loads(stream.readline())
        return found
