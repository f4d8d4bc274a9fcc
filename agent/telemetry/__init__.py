"""Seeing what happens: names, log lines, traces. The orchestrator imports it too: nothing is named twice."""
