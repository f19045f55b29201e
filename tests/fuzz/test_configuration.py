"""A configuration file, whatever is in it, is either usable or refused with a sentence that names file and line."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.config import HubConfig, UnitConfig, load_hub, load_unit, write_commented
from appliance.errors import ConfigError

LOADERS = {UnitConfig: load_unit, HubConfig: load_hub}
UNIT_TEXT = write_commented(UnitConfig) + '\n[[dicom.modalities]]\nname = "CT"\nae_title = "CT1"\nnetwork = "::1"\n'
LINES = UNIT_TEXT.splitlines() + write_commented(HubConfig).splitlines()
HOSTILE_VALUES = (
    "-1", "0", "1e400", "nan", "inf", "-inf", "99999999999999999999999", "true", '""', '"\\u0000"', '"../../etc"',
    "[]", "{}", "[[1]]", "1979-05-27", '"' + "x" * 70000 + '"', "'''\n'''", "{a={a={a={a=1}}}}", '"Europe/../Paris"',
    '"/etc/passwd"', '"0.0.0.0/33"', '"192.168.1.1/24/24"', '"%s%s%s"', "[" * 2000 + "]" * 2000,
)  # fmt: skip


def load(kind: Any, text: str | bytes) -> None:
    """Loads it; any error but ConfigError is a failure."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "appliance.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        try:
            LOADERS[kind](path)
        except ConfigError as refused:
            problem = refused
        else:
            return
        assert str(path) in problem.message
        assert problem.exit_code == 2


@pytest.mark.parametrize("kind", LOADERS)
@given(st.data())
def test_a_file_of_shuffled_and_broken_lines_is_usable_or_refused(kind: Any, data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(LINES), max_size=40))
    junk = data.draw(st.text(max_size=40))
    at = data.draw(st.integers(0, len(lines)))
    load(kind, "\n".join([*lines[:at], junk, *lines[at:]]))


@pytest.mark.parametrize("kind", LOADERS)
@given(st.data())
def test_a_hostile_value_under_any_key_is_refused_or_harmless(kind: Any, data: st.DataObject) -> None:
    lines = write_commented(kind).splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"\w+ = ", line)]
    number = data.draw(st.sampled_from(keys))
    lines[number] = lines[number].split(" = ")[0] + " = " + data.draw(st.sampled_from(HOSTILE_VALUES))
    load(kind, "\n".join(lines))


@pytest.mark.parametrize("kind", LOADERS)
@settings(max_examples=200)
@given(st.binary(max_size=200))
@example(b"\xff\xfe\x00")
@example(b"a=" + b"[" * 5000)
@example(b"a." * 2000 + b"a=1")
def test_bytes_that_are_no_text_are_refused(kind: Any, data: bytes) -> None:
    load(kind, data)


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "-1.0", "1e300"])
@pytest.mark.parametrize("kind", LOADERS)
def test_no_time_is_endless_negative_or_not_a_number(kind: Any, number: str, tmp_path: Path) -> None:
    text = write_commented(kind)
    times = re.findall(r"^\w+(?:_seconds|_days|_hours|_seconds_max) = ", text, re.MULTILINE)
    assert times
    for time in times:
        path = tmp_path / "appliance.toml"
        path.write_text(re.sub(rf"^{time}.*$", f"{time}{number}", text, count=1, flags=re.MULTILINE))
        with pytest.raises(ConfigError):
            LOADERS[kind](path)
