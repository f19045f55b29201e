"""An open edge gateway for teleradiology: the unit at a hospital, and the hub where its studies are read.

`docs/architecture.md` says which room does what, and which way imports point.
"""

__version__ = "0.1.0"
