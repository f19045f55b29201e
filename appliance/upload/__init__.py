"""tus 1.0 for both ends, sans-I/O: headers, the client's and the server's decisions as values in and values out.

`headers` encodes and parses; `client` says what a sender does next; `server` says what the hub answers. No sockets, no
files, no clocks: `store_forward.forward` and `hub` are the shells around them. Owns no file and no table.
Written against https://tus.io/protocols/resumable-upload (1.0.0) and docs/protocol.md.
"""
