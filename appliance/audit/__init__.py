"""Who saw or changed what, kept at both ends.

Appends rows; never changes or removes one. On the unit it alone writes the table `audit_event`; the hub calls the
same `record` shape through its own index.
"""
