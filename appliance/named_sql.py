"""SQL lives in `.sql` files; each query has a name and one line of purpose.

A query starts at a line `-- name: the_name` and runs to the next such line. Reading one that is not there is a
programming error and says so.
"""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name:[ \t]*(\w+)[ \t]*$", re.MULTILINE)


class NamedSql:
    """The queries of one `.sql` file, read once: `sql = NamedSql("appliance.store_forward.sql", "receive.sql")`."""

    def __init__(self, package: str, file_name: str) -> None:
        self._file = f"{package}/{file_name}"
        text = (resources.files(package) / file_name).read_text("utf-8")
        parts = _NAME.split(text)
        self._queries: dict[str, str] = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))

    def __getitem__(self, name: str) -> str:
        if name not in self._queries:
            raise LookupError(f"{self._file} has no query named {name}")
        return self._queries[name]

    def names(self) -> list[str]:
        """The names of all queries, in the order of the file."""
        return list(self._queries)
