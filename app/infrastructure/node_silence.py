"""Why an agent gave no answer, for whoever reads it in a deployment: urllib3's own words name its objects."""

from __future__ import annotations

import ssl

from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, ReadTimeoutError, SSLError


def reason(error: Exception, address: str, asked_for: str, waited: float) -> str:
    """Why `asked_for` did not come from the agent at `address` after `waited` seconds.

    `error` is one of urllib3, or an OSError.
    """
    match error:
        case NewConnectionError():
            return f"no connection to {address}: {_said(error.__cause__ or error)}"
        case ConnectTimeoutError():
            return f"no connection to {address} within {waited:.3g} s"
        case ReadTimeoutError():
            return f"{address} did not give {asked_for} within {waited:.3g} s"
        case SSLError():
            return f"no safe connection to {address}: {_said(error.args[0] if error.args else error)}"
        case ProtocolError():
            return f"{address} broke off before {asked_for} was whole"
    return f"{asked_for} could not be had from {address}: {_said(error)}"


def _said(error: object) -> str:
    """What an error of a socket or of TLS says, without numbers, names of classes and lines of C."""
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError():
            return (error.reason or "the encryption failed").replace("_", " ").lower()
        case OSError():
            return error.strerror or type(error).__name__
    return str(error)
