"""Parcels on a USB stick, for a line that is dead: what both ends share, and the writing of a stick.

`cipher` encrypts (the age format), `seal` says who wrote what, `stick` reads and writes the directory, `listing` is
what is on it as values (docs/protocol.md §Stick), `plan` decides what fits, `export` writes a stick. This room
alone writes the sticks; it knows neither the unit's queue nor the hub's index.
"""
