"""PS3.4 C.2.2.2 in plain Python over values as they were sent: what the index's SQL is compared with."""

from __future__ import annotations

import re
import unicodedata


def text_fits(asked: str, stored: str) -> bool:
    """Single value and wildcard matching, case by case."""
    asked, stored = asked.strip(), stored.strip()
    return not asked.strip("*") or bool(re.fullmatch(_regex(asked), stored, re.DOTALL))


def any_text_fits(asked: str, stored: list[str]) -> bool:
    """Several values in the question, several in the study."""
    wanted = [one for one in asked.split("\\") if one.strip()]
    universal = not wanted or any(not one.strip().strip("*") for one in wanted)
    return universal or any(text_fits(one, each) for one in wanted for each in stored)


def name_fits(asked: str, stored: str) -> bool:
    """A question of one group may be any of the stored three; one of several is group by group."""
    groups = [_folded(group) for group in stored.split("=")]
    groups += [""] * (3 - len(groups))
    wanted = [_folded(group) for group in asked.split("=")]
    if len(wanted) == 1:
        return _is_any_name(wanted[0]) or any(_group_fits(wanted[0], group) for group in groups)
    return all(_is_any_name(one) or _group_fits(one, group) for one, group in zip(wanted, groups, strict=False))


def _folded(group: str) -> str:
    plain = unicodedata.normalize("NFD", group.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return "^".join(" ".join(component.split()) for component in plain.split("^")).rstrip("^")


def _is_any_name(group: str) -> bool:
    return not group or (group[0] == "*" and not re.sub(r"(\^\*+)*", "", group).strip("*"))


def _group_fits(asked: str, stored: str) -> bool:
    """Components at the end may be left out of a name, so stars for them at the end of a question may be, too."""
    fits = False
    while asked and stored:
        fits = fits or bool(re.fullmatch(_regex(asked), stored, re.DOTALL))
        shorter = re.sub(r"\^+\*+$", "", asked)
        asked = "" if shorter == asked else shorter
    return fits


def date_fits(asked: str, stored: str) -> bool:
    """Single value and range matching of a date or, cut to what is stated, of a time."""
    if "-" not in asked:
        return stored.startswith(asked) if stored else False
    first, _, last = asked.partition("-")
    return bool(stored) and (not first or first <= stored) and (not last or stored[: len(last)] <= last)


def _regex(asked: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in asked)
