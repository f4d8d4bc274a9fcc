"""How `hotswap up`, and what it starts once, end."""

EXIT_DONE, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
