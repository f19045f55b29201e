"""The hub's DICOM listener for viewers and PACS: known AEs alone, C-ECHO and C-FIND (PS3.4 annexes A and C).

`peers` says who may ask and what they see, `finding` answers a C-FIND from `query`, `listener` joins both with the
guarded server of `dimse`. It opens no file of a study and writes nothing but lines of the audit trail.
"""
