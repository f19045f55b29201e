"""The strings of the pages, of the unit's and of the hub's, as they stand in the code and templates."""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WEBUI = CHECKOUT / "appliance" / "webui"
PEOPLE = CHECKOUT / "appliance" / "hub" / "people"
TRANSLATIONS = WEBUI / "translations"
_METHODS = [("**.py", "python"), ("**.html", "jinja2")]
_KEYWORDS = {"_": None, "_l": None, "_n": (1, 2), "gettext": None, "ngettext": (1, 2)}


def extract(room: Path = WEBUI) -> Catalog:
    """Every string that the pages of a room may show, with the files it stands in."""
    catalogue = Catalog(project="appliance", charset="utf-8")
    found = extract_from_dir(room, _METHODS, keywords=_KEYWORDS, strip_comment_tags=True)
    for file, _line, message, comments, context in sorted(found, key=lambda entry: (entry[0], entry[1])):
        place = f"{room.relative_to(CHECKOUT)}/{file}"
        catalogue.add(message, locations=[(place, 0)], auto_comments=comments, context=context)
    return catalogue


def read(path: Path) -> Catalog:
    """A `.po` or `.pot` file."""
    return read_po(io.BytesIO(path.read_bytes()), locale=None if path.suffix == ".pot" else path.stem)


def update(room: Path = WEBUI) -> None:
    """Writes `messages.pot` anew and merges what is new into every `.po`; translations stay."""
    template, translations = extract(room), TRANSLATIONS if room == WEBUI else room / "translations"
    _write(translations / "messages.pot", template)
    for path in sorted(translations.glob("*.po")):
        catalogue = read(path)
        catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
        catalogue.obsolete.clear()
        _write(path, catalogue)


def _write(path: Path, catalogue: Catalog) -> None:
    out = io.BytesIO()
    write_po(out, catalogue, width=110, omit_header=path.suffix == ".pot", include_lineno=False, sort_output=True)
    path.write_bytes(out.getvalue())
