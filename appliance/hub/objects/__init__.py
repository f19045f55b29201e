"""The object store: where the archive's objects are, in a directory or in a bucket of S3 storage.

`store` is the port, `directory` and `s3` are the two that keep it, and both pass the same tests; `keys` says what a
key is; `opening` chooses by the configuration. This room alone writes the archive: `archive/` of the data directory,
or what is below `objects.url`. It knows no index and no parcel but by name, and deletes only what it is told to.
"""
