"""Texts of peers, made fit to show."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.webui.names import clean, person_name


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("BANDA^GRACE", "BANDA, Grace"),
        ("BANDA^GRACE^CHISOMO^MRS", "BANDA, Grace Chisomo (Mrs)"),
        ("Banda^Grace", "Banda, Grace"),
        ("BANDA", "BANDA"),
        ("^GRACE", "Grace"),
        ("O'NEIL^ANNE-MARIE", "O'NEIL, Anne-Marie"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
        ("=山田^太郎", "山田, 太郎"),
        ("", ""),
        ("^^^^", ""),
        ("^^^DR", "Dr"),
        ("a^b^c^d^e^f^g", "a, b c (d e)"),
    ],
)
def test_a_dicom_name_reads_family_then_given(sent: str, shown: str) -> None:
    assert person_name(sent) == shown


def test_what_overrides_the_direction_of_writing_is_taken_out() -> None:
    assert clean("abc\u202egnp.exe\u2066x\u200f") == "abc gnp.exe x"


def test_controls_and_line_breaks_become_one_space() -> None:
    assert clean("a\x00\x07b\r\n\tc\x1b[31m\u2028d\x85e") == "a b c [31m d e"


def test_joiners_that_scripts_need_stay() -> None:
    assert clean("می\u200cخواهم") == "می\u200cخواهم"


@given(st.text(max_size=2000))
def test_nothing_unseen_is_ever_left(text: str) -> None:
    for shown in (clean(text), person_name(text)):
        assert all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in shown)
        assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff")
    assert len(clean(text)) <= 120
    assert clean(clean(text)) == clean(text)
