"""The node agent: what runs on every node, and the only code that touches its modules. See docs/agent.md."""

__version__ = "0.1.0"
