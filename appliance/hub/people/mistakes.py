"""What may be wrong with a change of people."""

from __future__ import annotations

from appliance.errors import UserError


class BadPersonError(UserError):
    """This person of the hub can't be added or changed so."""

    hint = "Choose another name or password; `appliance hub user list` shows who there is."

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem  # a word that the page has a sentence for
