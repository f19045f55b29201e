"""The uplink as measured: is it up, how fast is it, when will something be there; and the rule that traffic stays in
the tunnel.

`line`, `rate` and `eta` are pure; `tunnel` reads whether the interface is there. The row of table `link` is written by
`store_forward.forward`, which alone speaks to the hub. Owns no file and no table.
"""
