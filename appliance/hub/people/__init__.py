"""People at the hub: who may log in, what each may do, whose studies each sees, and who did what.

Owns the tables `person`, `person_scope`, `session`, `token` and `login_failure`, and alone writes them. The other
faces for people (board, DICOMweb) ask `visitors.scope_of(request)` for the `Scope` of every query, and
`visitors.need(request, role)` before they change anything. Every change and every login is in the audit trail.
"""
