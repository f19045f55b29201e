"""What every bench shares: peers and our own processes on free ports, images, medians, tables, the machine's line.

Run a bench as `./dev bench NAME` or `python bench/NAME.py`; both find this package beside the script. The tests'
`support.data` says where images are, so that benches, demo and tests read the same ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]
