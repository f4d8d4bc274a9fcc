"""The demo: one module rolls over one fleet, well and badly, while clients watch.

Uses the product as anybody would: the `hotswap` command line, and HTTP to the module's endpoints. It imports nothing
of it.
"""
