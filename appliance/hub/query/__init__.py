"""Which patients, studies, series and instances fit a question (PS3.4 C.2.2.2): of C-FIND, QIDO-RS and the board alike.

`keys` says what can be asked, `matching` what a value demands, `asking` makes a `Query` of an identifier: these three
are pure. `conditions` turns that into SQL, `search` gives a page of answers in DICOM JSON (PS3.18 annex F), within a
scope. It reads the index alone, opens no file, and writes nothing.
"""
