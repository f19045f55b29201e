"""An instance in the transfer syntax that a peer takes: as stored, or made once, proved to be lossless, and kept.

`renditions.Renditions` is the door. `rows` has the leases, what is kept and what is to be thrown away; `maker` drives
a sandboxed worker, in which `jobs`, `making`, `pixels` and `headers` run: they import no database. This room alone
writes the tables `rendition` and `rendition_spent`, their objects in the store, and `renditions/` in the data
directory.
"""
