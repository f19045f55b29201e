"""Real S3 servers for tests, each a process of its own on a port of loopback.

`moto` proves signatures and lists torn uploads; it forgets everything when it dies. `localbucket` keeps its objects in
files, so that it may die and come back; it asks nobody who he is.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import botocore.session

from appliance.config import Objects
from appliance.hub.objects.client import make_client
from appliance.hub.objects.s3 import S3Store

BUCKET: Final = "archive"
PREFIX: Final = "hubs/north"
KINDS: Final = ("moto", "localbucket")


@dataclass
class S3Server:
    """One server; `directory` holds its objects, its log and the file with the keys."""

    kind: str
    directory: Path
    port: int = 0
    keys: tuple[str, str] = ("AKIATEST", "a-secret")
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers, with the bucket in it. The second start has the port of the first."""
        self.port = self.port or _free_port()
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        data = (str(self.directory / "objects"),) if self.kind == "localbucket" else ()
        module = "localbucket" if self.kind == "localbucket" else "moto.server"
        (self.directory / "objects").mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *where, *data], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._await()
        with contextlib.suppress(Exception):  # it is there from before
            self.client().create_bucket(Bucket=BUCKET)

    def _await(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.directory / "server.log").read_text()[-2000:])

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def demand_proof(self) -> None:
        """From now on only `keys` may do anything, and signatures are compared (moto alone)."""
        iam = botocore.session.Session().create_client(
            "iam",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
        )
        iam.create_user(UserName="hub")
        made = iam.create_access_key(UserName="hub")["AccessKey"]
        policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
        iam.put_user_policy(UserName="hub", PolicyName="all", PolicyDocument=policy)
        self.keys = (made["AccessKeyId"], made["SecretAccessKey"])
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        with urllib.request.urlopen(request, timeout=10):
            pass

    def objects(self, keys: tuple[str, str] | None = None, **values: str) -> Objects:
        """`[objects]` of a hub that uses it."""
        file = self.directory / "keys"
        file.write_text("\n".join(keys or self.keys))
        file.chmod(0o640)
        return Objects(**{"url": f"s3://{BUCKET}/{PREFIX}", "endpoint": self.url, "key_file": str(file), **values})

    def client(self) -> Any:
        return make_client(self.objects())

    def store(self) -> S3Store:
        return S3Store(self.client(), BUCKET, PREFIX)

    def names(self) -> list[str]:
        """Of all objects in the bucket."""
        return [one["Key"] for one in self.client().list_objects_v2(Bucket=BUCKET).get("Contents", ())]


@contextlib.contextmanager
def s3_server(kind: str, directory: Path) -> Iterator[S3Server]:
    """Starts one, and ends it."""
    server = S3Server(kind, directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
