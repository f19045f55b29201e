"""Logs: one JSON line an event, and no value under a key that was not thought about."""

from __future__ import annotations

import json
import logging

import pytest

from appliance import logs


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_json_line_with_its_process(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("receive")
    logs.get_logger().info("stored", instance=7, bytes=1024)
    (line,) = _lines(capsys)
    assert line["event"] == "stored"
    assert (line["process"], line["instance"], line["bytes"], line["level"]) == ("receive", 7, 1024, "info")
    assert str(line["timestamp"]).endswith("Z")


def test_a_value_under_an_unknown_key_does_not_leave_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("receive")
    logs.get_logger().warning("stored", patient_name="DOE^JANE", uid="1.2.3")
    said = capsys.readouterr().err
    assert "DOE" not in said
    assert "1.2.3" not in said
    assert json.loads(said)["patient_name"] == "<str>"


def test_a_long_value_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("hub")
    logs.get_logger().error("refused", reason="x" * 10_000)
    (line,) = _lines(capsys)
    assert line["reason"] == "x" * 300


def test_a_new_line_in_a_value_does_not_make_a_new_line_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("receive")
    logs.get_logger().info("called", calling_ae='A\n{"event":"forged"}')
    assert len(_lines(capsys)) == 1


def test_what_is_below_the_level_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("web", level=logging.WARNING)
    logs.get_logger().info("quiet")
    assert capsys.readouterr().err == ""


def test_no_key_that_may_leave_names_a_patient_or_a_uid() -> None:
    assert not [
        key for key in logs.ALLOWED if "patient" in key or "uid" in key or "birth" in key or key == "study_name"
    ]
