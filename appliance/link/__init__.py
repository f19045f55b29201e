"""The uplink: is it up, how fast, how much of it may be used, when will something be there; and that traffic stays in
the tunnel.

`line`, `rate`, `eta`, `allowance`, `pace` and `spare` are pure; `tunnel` reads whether the interface is there. The row
of table `link` is written by `store_forward.forward`, which alone speaks to the hub. Owns no file and no table.
"""
