"""What keeps the local stack from starting, as one line that says what to do."""


class StackError(Exception):
    """Its text is for the person at the keyboard; the command ends with exit code 2."""
