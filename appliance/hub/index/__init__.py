"""The hub's index: which sites there are, what they sent, what is archived where, and who looked at it.

`tables` are the tables; `database` opens, migrates and wraps transactions; the other modules are the queries, each a
function over an open connection. Only `appliance.hub` writes it.
"""
