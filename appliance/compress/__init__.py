"""Byte-exact packing: codecs, the parcel format, and the sandboxed worker processes that do both. Both ends use it.

`pool.WorkerPool` is the door: `pack` (unit), `unpack` (hub), `transcode` and `restore` (hub archive and export). The
caller's process never runs a C codec on foreign bytes; a worker does, holding descriptors and nothing else.
Owns no table. Writes only the files it is told to write.
"""
