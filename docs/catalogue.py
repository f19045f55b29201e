"""Brings the catalogues of the page up to date with its strings: `python docs/catalogue.py`.

For a new language copy `appliance/webui/translations/messages.pot` to `LANGUAGE.po` there (`pt.po`, `sw.po`, `es.po`),
run this, and translate. The page offers every language that has a file there; the tests fail until it is whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.catalogue import update

if __name__ == "__main__":
    update()
