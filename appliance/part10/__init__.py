"""DICOM files and data sets as bytes: file meta (PS3.10 ch. 7), elements, where the pixels are, and identity (PS3.5).

It never decodes pixels and never changes a byte. Every read is bounded: by the size that the caller states, by a
count of elements and by a depth of nesting, so that no data set from a stranger costs more than its own length.
Owns no file; both ends use it.
"""
