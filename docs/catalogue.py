"""Brings the catalogues of the pages up to date with their strings: `python docs/catalogue.py`.

For a new language copy `appliance/webui/translations/messages.pot` to `LANGUAGE.po` there (`pt.po`, `sw.po`, `es.po`),
and so in `appliance/hub/people`; run this, and translate. A page offers every language that has a file there; the
tests fail until it is whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.catalogue import PEOPLE, update

if __name__ == "__main__":
    update()
    update(PEOPLE)
