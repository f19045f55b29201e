"""The guarded DICOM server, its association policy and status codes, and the test modality. Both ends use it.

The upper layer (PS3.8) and the message exchange (PS3.7) are ours for the acceptor, sans-I/O: `pdu`, `command`,
`negotiation` and `association` take bytes and return values; `transport`, `session` and `server` are the thin shell of
sockets and threads, with a ceiling on everything that a stranger may use. What a message does is a `service`.
Owns no file and no table. docs/decisions/0001-own-upper-layer.md says why this is not pynetdicom's.
"""
