"""Incidents: what failing hosts have in common that the others have not, looked for before anything is decided.

`find` is a function of a `Population`, which holds parts and what they and their hosts are, and of the policy.
"""
