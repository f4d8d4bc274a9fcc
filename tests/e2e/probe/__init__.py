"""The module that the tests deploy; `server.py` is what is packed, nothing else of this folder."""
