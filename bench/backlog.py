"""How fast page and schedulers answer when the queue holds a million instances.

The database is as after a month without a line: a third of the instances at the hub, a third packed and unsent, a third
just received. It is built through the real schema and its triggers. The page is the real web process, asked over HTTP
by a logged-in radiographer; the schedulers are asked by the functions that their processes call.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from harness import backlog
from harness.ours import Unit
from harness.report import Goal, Report, Table, arguments, median, publish, scratch

from appliance.compress.pool import WorkerPool
from appliance.config import load_unit
from appliance.store_forward.database import open_database, transaction
from appliance.store_forward.outbox import Outbox
from appliance.store_forward.packing import Packing
from appliance.webui import users

LIMIT_MS = 200.0
CANDIDATES = 16  # what forward asks for
_NAME, _PIN = "bench", "493817"


def log_in(unit: Unit) -> OpenerDirector:
    """A browser of a radiographer who is logged in to the unit's page."""
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    url = f"http://127.0.0.1:{unit.web_port}/login"
    page = browser.open(url, timeout=30).read().decode()
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    if token is None:
        raise SystemExit("the login page has no form token")
    fields = {"csrf_token": token.group(1), "next": "/", "name": _NAME, "pin": _PIN}
    browser.open(url, urlencode(fields).encode(), timeout=30).read()
    return browser


def timed(work: Callable[[], object], repeat: int) -> list[float]:
    """Milliseconds of each call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return times


def pages(unit: Unit, study: int, repeat: int) -> dict[str, list[float]]:
    """Times of the pages that a radiographer sees."""
    browser = log_in(unit)

    def get(path: str) -> Callable[[], object]:
        def fetch() -> None:
            with browser.open(f"http://127.0.0.1:{unit.web_port}{path}", timeout=30) as answer:
                if answer.url.endswith("/login") or not answer.read():
                    raise SystemExit(f"{path} was not shown")

        return fetch

    asked = {
        "page: list of studies": "/",
        "page: fragment that is polled": "/live",
        "page: studies not at the hub": "/?state=under_way",
        "page: studies at the hub": "/?state=at_hub",
        "page: studies that need help": "/?state=needs_help",
        "page: search by name": "/?q=Phiri",
        "page: one modality": "/?modality=US",
        "page: one study": f"/studies/{study}",
    }
    return {name: timed(get(path), repeat) for name, path in asked.items()}


def schedulers(unit: Unit, repeat: int) -> dict[str, list[float]]:
    """Times of the next choice of `compress` and of `forward`."""
    times = {}
    config = load_unit(unit.file)
    with closing(Outbox(config)) as outbox:
        if not outbox.candidates([], CANDIDATES):
            raise SystemExit("forward finds nothing to send")
        times["forward: next parcels"] = timed(lambda: outbox.candidates([], CANDIDATES), repeat)
    (unit.data / "parcels").mkdir()
    with closing(open_database(unit.data)) as connection, WorkerPool(config.compress) as pool:

        def choose() -> None:
            # A new one each time: what it remembers of the line for a second is asked too.
            if Packing(config, connection, pool)._next() is None:
                raise SystemExit("compress finds nothing to pack")

        times["compress: next instances"] = timed(choose, repeat)
    return times


def report(times: dict[str, list[float]], facts: dict[str, float]) -> Report:
    """One row an answer, one goal for all."""
    found = Report("backlog", f"Answers with {facts['instances']:,.0f} instances in the queue")
    table = Table("Milliseconds", ("answer", "median", "worst", "of"))
    for name, each in times.items():
        table.rows.append((name, f"{median(each):.1f}", f"{max(each):.1f}", str(len(each))))
    table.note = (
        f"{facts['studies']:,.0f} studies, {facts['parcels']:,.0f} parcels, database of {facts['bytes'] / 1e6:,.0f} MB,"
        f" built in {facts['seconds']:.0f} s."
    )
    found.tables.append(table)
    slowest = max(times, key=lambda name: max(times[name]))
    worst = max(times[slowest])
    sentence = f"every answer under {LIMIT_MS:.0f} ms, the worst too"
    found.goals.append(Goal(sentence, f"{worst:.1f} ms ({slowest})", worst < LIMIT_MS))
    found.figures = {"milliseconds": times, **facts}
    return found


def main(options: argparse.Namespace) -> None:
    """Builds, measures, prints."""
    directory = scratch(options.directory) / "backlog-run"
    unit = Unit(directory)
    start, now = time.monotonic(), time.time_ns() // 1_000_000
    studies = backlog.build(unit.data, options.instances, now)
    seconds = time.monotonic() - start
    connection = open_database(unit.data)
    with transaction(connection):
        users.add_user(connection, _NAME, "radiographer", _PIN, now)
    connection.close()
    with unit.start("web"):
        times = pages(unit, max(1, studies // 2), options.repeat) | schedulers(unit, options.repeat)
    facts = {
        "instances": float(unit.count("SELECT sum(instances) FROM study")),
        "studies": float(studies),
        "parcels": float(unit.count("SELECT count(*) FROM parcel")),
        "bytes": float((unit.data / "appliance.db").stat().st_size),
        "seconds": seconds,
    }
    shutil.rmtree(directory)
    publish(report(times, facts), options)


if __name__ == "__main__":
    parser = arguments(__doc__, repeat=50)
    parser.add_argument("--instances", type=int, default=1_000_000, metavar="N", help="default 1,000,000")
    sys.exit(main(parser.parse_args()))
