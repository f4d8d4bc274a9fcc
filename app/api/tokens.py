"""JSON Web Tokens of a session: an access token that carries the session's id, a refresh token that is good once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException

from app.domain.errors import NotAuthenticated
from app.infrastructure.api_tokens import is_meant_as_token
from app.orchestrator.authentication import OpenSession
from config.settings import Settings

_SESSION = "sid"


def configure(app: Flask, settings: Settings) -> None:
    """The secret comes from settings alone. `jti` of a refresh token is the id that the session's row names."""
    app.config["JWT_SECRET_KEY"] = settings.jwt_secret.get_secret_value()
    app.config["JWT_ALGORITHM"] = "HS256"
    app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(seconds=settings.access_token_lifetime)
    app.config["JWT_REFRESH_TOKEN_EXPIRES"] = timedelta(seconds=settings.refresh_token_lifetime)
    JWTManager(app)


def issue(session: OpenSession) -> tuple[str, str, datetime]:
    """Access token, refresh token, and when the first expires."""
    identity = str(session.account.id)
    access = create_access_token(identity, additional_claims={_SESSION: str(session.id)})
    refresh = create_refresh_token(
        identity, additional_claims={_SESSION: str(session.id), "jti": str(session.refresh_id)}
    )
    return access, refresh, datetime.fromtimestamp(decode_token(access)["exp"], UTC)


def session_of(access_token: str) -> UUID:
    """The session of a valid access token. Raises NotAuthenticated, also for an API token, which has no session."""
    if is_meant_as_token(access_token):
        raise NotAuthenticated("An API token has no session to end: revoke it instead.")
    return UUID(_claims(access_token, "access")[_SESSION])


def refresh_of(refresh_token: str) -> tuple[UUID, UUID]:
    """Session and id of a valid refresh token. Raises NotAuthenticated."""
    claims = _claims(refresh_token, "refresh")
    return UUID(claims[_SESSION]), UUID(claims["jti"])


def _claims(token: str, kind: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = decode_token(token)
        if claims.get("type") != kind:
            raise NotAuthenticated(f"This is not {'an access' if kind == 'access' else 'a refresh'} token.")
        UUID(claims[_SESSION])
        UUID(claims["jti"])
    except jwt.ExpiredSignatureError:
        raise NotAuthenticated("The token has expired.") from None
    except (jwt.PyJWTError, JWTExtendedException, ValueError, KeyError, TypeError, UnicodeError):
        raise NotAuthenticated("The token is not valid.") from None
    return claims
