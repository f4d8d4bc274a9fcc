"""One deployment's trace, printed as a tree: a small OTLP/HTTP receiver, and what it received as text."""
