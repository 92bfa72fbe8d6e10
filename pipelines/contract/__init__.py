"""What Foreshock and a maintenance executor say to each other: CloudEvents 1.0 over HTTP, checked and signed.

`messages` turns orders and answers into events and back, `signing` makes and checks their signatures, `schemas/` holds
the JSON Schemas of their data for those who write an executor of their own. docs/executor-contract.md follows an order.
"""
