"""The radiographer's page: server-rendered, works without JavaScript, loads nothing from anywhere else.

It shows what the queue says (`store_forward.views`) in words, and passes on what a person decides
(`store_forward.actions`). It alone writes the tables `user`, `session` and `login_failure`. It never opens a file of
the spool. Every text that came from a modality passes `names.clean` and Jinja's escaping.
"""
