"""Uploads files to a tus server with tuspy, one after the other, and prints the name of each that is there.

python tuspy_send.py URL SECRET FILE...
"""

from __future__ import annotations

import sys
from pathlib import Path

from tusclient.client import TusClient

url, secret, *files = sys.argv[1:]
client = TusClient(url, headers={"Authorization": f"Bearer {secret}"})
for file in files:
    client.uploader(file).upload()
    print(Path(file).stem, flush=True)
