"""Runs what is foreign to us in a cage; see docs/sandbox.md.

`run(spec, log_path, cancelled) -> SandboxOutcome` and `available() -> Capabilities` are all that others need, with the
types of `spec`, and `remove_tree` for the workspace afterwards.

Nothing is imported here: the supervising process imports below this package, and is to start fast.
"""
