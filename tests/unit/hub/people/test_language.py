"""Which language a request gets; every string of the hub's pages is in the catalogues, every language whole."""

from __future__ import annotations

import ast
import re
from string import ascii_letters

import pytest
from babel.messages.checkers import python_format
from hypothesis import given
from hypothesis import strategies as st
from support import catalogue

from appliance.hub.people.language import SOURCE, choose, own_name, read_catalogue, shipped

EXTRACTED = catalogue.extract(catalogue.PEOPLE)
OTHERS = [language for language in shipped() if language != SOURCE]


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "", "en"),
        ("fr", "en", "fr"),
        ("xx", "fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        ("", "de, en;q=0.4, fr;q=0.7", "fr"),
        ("", "fr;q=0", "en"),
        ("", "fr;q=zz, sw", "en"),
        ("../..", "*", "en"),
    ],
)
def test_what_the_person_chose_comes_before_what_the_browser_asks_for(
    chosen: str, accepted: str, language: str
) -> None:
    assert choose(chosen, accepted, ["en", "fr"]) == language


@given(st.text(), st.text())
def test_any_header_gives_a_language_that_there_is(chosen: str, accepted: str) -> None:
    assert choose(chosen, accepted, ["en", "fr"]) in {"en", "fr"}


def test_english_and_french_are_shipped() -> None:
    assert shipped() == ["en", "fr"]
    assert [own_name(language) for language in shipped()] == ["English", "Français"]


def test_every_string_of_the_code_is_found() -> None:
    known = {m.id if isinstance(m.id, str) else m.id[0] for m in EXTRACTED if m.id}
    marked = set()
    for path in catalogue.PEOPLE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_l":
                assert isinstance(node.args[0], ast.Constant)
                marked.add(node.args[0].value)
    assert marked <= known
    assert len(marked) > 15
    assert len(known) > 40


def test_the_template_for_new_languages_is_up_to_date() -> None:
    template = catalogue.read(catalogue.PEOPLE / "translations" / "messages.pot")
    assert {m.id for m in template} == {m.id for m in EXTRACTED}, "run: python docs/catalogue.py"


@pytest.mark.parametrize("language", OTHERS)
def test_a_shipped_language_is_whole_and_names_the_same_things(language: str) -> None:
    translated = read_catalogue(language)
    assert {m.id for m in translated} == {m.id for m in EXTRACTED}, "run: python docs/catalogue.py"
    for message in translated:
        strings = message.string if isinstance(message.string, list | tuple) else (message.string,)
        assert all(strings), message.id
        assert not message.id or not message.fuzzy
        if message.id and "python-format" in message.flags:
            python_format(translated, message)


def test_the_templates_hold_no_words_of_their_own() -> None:
    for path in (catalogue.PEOPLE / "templates").glob("*.html"):
        text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL)
        text = text.replace("appliance hub user add NAME --role admin --all", "")
        assert not set(text) & set(ascii_letters), f"{path.name}: {text.split()}"
