"""Normal forms: what people mean by the same name, date, time and number is the same text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hub.index.forms import (
    NO_NUMBER,
    date_form,
    folded,
    list_form,
    list_of,
    name_forms,
    number_form,
    text_form,
    time_form,
    time_span,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MÜLLER^Jörg", "muller^jorg"),
        ("Łukasiewicz^Ødegård", "lukasiewicz^odegard"),
        ("Straße", "STRASSE"),
        ("Doe^John^^^", "DOE^JOHN"),
        ("  Doe  Smith ^ John", "doe smith^john"),
        ("Γιώργος", "ΓΙΩΡΓΟΣ"),
        ("Семён", "СЕМЕН"),
        ("İstanbul", "istanbul"),
        ("Yamada\u3000Tarou", "yamada tarou"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_names_are_the_same_without_case_accents_and_empty_components(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("が", "か"), ("कि", "क"), ("กี", "ก"), ("한", "하"), ("Doe^John", "Doe John"), ("a", "b")]
)
def test_letters_that_only_look_like_accents_to_others_are_kept(one: str, other: str) -> None:
    assert folded(one) != folded(other)


def test_a_letter_stays_one_letter_so_that_a_question_mark_finds_it() -> None:
    assert [len(folded(letter)) for letter in "é한がŁ山"] == [1, 1, 1, 1, 1]


def test_a_name_has_three_groups() -> None:
    assert name_forms("Yamada^Tarou=山田^太郎=やまだ^たろう") == ("yamada^tarou", "山田^太郎", "やまだ^たろう")
    assert name_forms("=山田") == ("", "山田", "")
    assert name_forms("") == ("", "", "")
    assert name_forms("a=b=c=d") == ("a", "b", "c")


@given(st.text(max_size=80))
def test_folding_twice_is_folding_once_and_a_key_has_a_length(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert len(folded(text)) <= 256


@pytest.mark.parametrize(
    ("text", "form"),
    [("20260131", "20260131"), ("2026.01.31", "20260131"), (" 20260131 ", "20260131")]
    + [(bad, "") for bad in ("", "2026", "20261301", "20260100", "2026-01-31", "2026013", "yesterday", "٢٠٢٦٠١٣١")],
)
def test_dates(text: str, form: str) -> None:
    assert date_form(text) == form


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("10", ("100000000000", "105959999999")),
        ("1030", ("103000000000", "103059999999")),
        ("103015", ("103015000000", "103015999999")),
        ("103015.5", ("103015500000", "103015599999")),
        ("10:30:15", ("103015000000", "103015999999")),
        ("103015.123456", ("103015123456", "103015123456")),
        ("235960", ("235960000000", "235960999999")),
    ]
    + [(bad, ("", "")) for bad in ("", "1", "2460", "1060", "103015.", "103015.1234567", "noon")],
)
def test_a_time_spans_what_it_does_not_state(text: str, span: tuple[str, str]) -> None:
    assert time_span(text) == span
    assert time_form(text) == span[0]


@pytest.mark.parametrize(
    ("text", "form"), [("7", 7), ("007", 7), ("+7", 7), ("-3", -3), (" 7 ", 7), ("", NO_NUMBER), ("7a", NO_NUMBER)]
)
def test_numbers(text: str, form: int) -> None:
    assert number_form(text) == form


def test_text_keeps_its_case() -> None:
    assert text_form("  aB c ") == "aB c"


def test_a_list_is_found_by_each_of_its_values_and_never_longer_than_its_column() -> None:
    assert list_form({"SR", "CT", ""}, 100) == "\\CT\\SR\\"
    assert list_form(set(), 100) == ""
    assert list_of("\\CT\\SR\\") == ["CT", "SR"]
    assert list_form({"AAAA", "BBBB", "C"}, 9) == "\\AAAA\\C\\"
