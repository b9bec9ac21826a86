"""What the local API says, as typed structs.

Server, command line and SDK share them, and the OpenAPI description is made from them: a field is
named once. Units end the names (`_ms`, `_bytes`); new fields come last, with a default.
"""
