"""The unit's heart: receive → spool → queue → pack → schedule → send.

`receive` writes `spool/` and the rows of what came; `packing` writes `parcels/` and removes what is delivered and
past its retention; `forward` alone talks to the hub. The queue between them is the unit's SQLite database
(`appliance.db`), opened by `database`, changed by the queries in `sql/`. This room alone writes these three.
"""
