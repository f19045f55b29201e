"""Every string of the page is in the catalogues, and every shipped language is whole."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from string import ascii_letters
from types import SimpleNamespace

import pytest
from babel.messages.checkers import python_format
from support import catalogue
from support.ward import Ward, ward_config

import appliance.webui.catalogue
from appliance.webui.app import create_app
from appliance.webui.catalogue import SOURCE, own_name, read_catalogue, shipped

EXTRACTED = catalogue.extract()
OTHERS = [language for language in shipped() if language != SOURCE]


def strings_in_code() -> set[str]:
    """Every constant that is handed to `_`, `_l` or `_n`, found without Babel (which can't look into f-strings)."""
    found = set()
    for path in catalogue.WEBUI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"_", "_l", "_n"}:
                first = node.args[0]
                assert isinstance(first, ast.Constant), f"{path.name}:{node.lineno} translates what is no constant"
                found.add(first.value)
    return found


def test_french_is_shipped() -> None:
    assert shipped() == ["en", "fr"]
    assert [own_name(language) for language in shipped()] == ["English", "Français"]


def test_french_is_complete() -> None:
    french = read_catalogue("fr")
    assert [m.id for m in french if m.id and not whole(m)] == []


def test_every_string_of_the_code_is_found() -> None:
    known = {m.id if isinstance(m.id, str) else m.id[0] for m in EXTRACTED}
    assert strings_in_code() <= known
    assert len(known) > 200


def test_the_template_for_new_languages_is_up_to_date() -> None:
    template = catalogue.read(catalogue.TRANSLATIONS / "messages.pot")
    assert {m.id for m in template} == {m.id for m in EXTRACTED}, "run: python docs/catalogue.py"


@pytest.mark.parametrize("language", OTHERS)
def test_a_shipped_language_is_whole(language: str) -> None:
    translated = read_catalogue(language)
    wanted = [m for m in EXTRACTED if m.id]
    missing = {m.id for m in wanted} - {m.id for m in translated}
    assert not missing, "run: python docs/catalogue.py"
    done = [m for m in wanted if whole(translated[m.id])]  # type: ignore[arg-type]
    assert len(done) >= 0.95 * len(wanted)
    assert {m.id for m in translated if m.id} == {m.id for m in wanted}, "strings that nobody shows"


def whole(message: object) -> bool:
    """Translated in every plural form, and not fuzzy."""
    parts = message.string if isinstance(message.string, list | tuple) else (message.string,)  # type: ignore[attr-defined]
    return all(parts) and not message.fuzzy  # type: ignore[attr-defined]


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_names_the_same_things_as_the_original(language: str) -> None:
    translated = read_catalogue(language)
    for message in translated:
        if message.id and "python-format" in message.flags:
            python_format(translated, message)


@pytest.mark.parametrize(("language", "name"), [("pt", "Português"), ("sw", "Kiswahili"), ("es", "Español")])
def test_a_copy_of_the_template_is_all_that_the_next_languages_need(
    language: str, name: str, ward: Ward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translations = tmp_path / "translations"
    translations.mkdir()
    shutil.copy(catalogue.TRANSLATIONS / "messages.pot", translations / "messages.pot")
    shutil.copy(catalogue.TRANSLATIONS / "messages.pot", translations / f"{language}.po")
    monkeypatch.setattr(catalogue, "TRANSLATIONS", translations)
    catalogue.update()  # python docs/catalogue.py
    monkeypatch.setattr(appliance.webui.catalogue, "resources", SimpleNamespace(files=lambda _: tmp_path))
    made = read_catalogue(language)
    assert {m.id for m in made} == {m.id for m in EXTRACTED}
    assert {len(m.string) for m in made if m.pluralizable} == {made.num_plurals} == {2}
    assert own_name(language) == name

    made["Log in"].string = "[Log in]"
    catalogue._write(translations / f"{language}.po", made)
    ward.people()
    app = create_app(ward_config(tmp_path))
    page = app.test_client().get("/login", headers={"Accept-Language": language}).get_data(as_text=True)
    assert f'<html lang="{language}" dir="ltr">' in page
    assert "[Log in]" in page


def test_the_templates_hold_no_words_of_their_own() -> None:
    for path in (catalogue.WEBUI / "templates").glob("*.html"):
        text = re.sub(
            r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<svg.*?</svg>|<[^>]*>", " ", path.read_text("utf-8"), flags=re.DOTALL
        )
        for term in ("SOP Instance UID", "Study Instance UID", "SHA-256", "appliance user add NAME --role engineer"):
            text = text.replace(term, "")
        assert not set(text) & set(ascii_letters), f"{path.name}: {text.split()}"
