"""What holds for every test: a wiped environment, and what a machine can't run is said, never passed over in CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from support import data

# dcmtk's storescu is a peer; the one that pynetdicom puts beside our Python is not.
os.environ["PATH"] = os.pathsep.join(
    directory
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep)
    if Path(directory) != Path(sys.executable).parent
)
# No test judges a speed that a busy machine could break: 200 ms for an example is one.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
IN_CI = os.environ.get("CI", "") not in {"", "0", "false"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`./dev fuzz --n N`: the same tests as in CI, longer."""
    parser.addoption("--rounds", type=int, default=0, help="hostile inputs of a test; 0: as in CI")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How many rounds were asked for; 0 when nothing was said."""
    return int(request.config.getoption("--rounds"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that this machine can't run is skipped with the reason; `-ra` names it at the end."""
    lacking = {}
    if os.geteuid() != 0:
        lacking["needs_root"] = "needs root: it mounts a file system or makes a namespace"
    if not data.series_present():
        lacking["needs_series"] = f"needs the shared series in {data.ARCHIVES}"
    for item in items:
        for marker, reason in lacking.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: the machine there can run everything."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if IN_CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} skipped: in CI that is a failure", red=True)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests changes what they test."""
    for name in [n for n in os.environ if n.startswith("APPLIANCE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """`logs.configure` of one test does not write into the captured stream of the next."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
