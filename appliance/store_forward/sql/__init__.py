"""Named queries of the unit's database, and its numbered migrations."""
