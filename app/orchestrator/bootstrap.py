"""What must be there before the first request: environments, the built-in users, the keys that are trusted at once.

Every process of the API calls it before its first request. It runs under an advisory lock, adds what is missing and
changes nothing that is there: a policy that somebody edited and a password that somebody changed stay. The built-in
users are made until there is an Admin; from then on there always is one, and who else there is, Admins decide: a user
that they removed does not come back at the next start. Only passwords that were given to the local stack at this start
(`given_passwords`) hold whatever was before; like every other change of a password they end the user's sessions and
tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import ColumnElement, exists, func, or_, select, text, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from agent.signatures import KeyInvalid, key_id, load_public, public_pem
from app.domain.accounts import password_faults
from app.domain.policy import Policy, StrategyKind
from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.db.models import DEFAULT_TENANT, Environment, PublisherKey, User
from app.infrastructure.passwords import hash_password, verify_password
from app.orchestrator.context import Orchestrator
from app.orchestrator.credentials import end_sessions, revoke_tokens
from app.orchestrator.roles import Role
from config.settings import Settings, SettingsError

_ONE_AT_A_TIME = 0x486F7453776171
SYSTEM = "system"
# Names, strategies and order as API.md, "The policy of an environment", gives them.
_ENVIRONMENTS = (
    ("Development", StrategyKind.DIRECT),
    ("QA", StrategyKind.ROLLING),
    ("Staging", StrategyKind.ROLLING),
    ("Production", StrategyKind.ROLLING),
)


def bootstrap(orchestrator: Orchestrator) -> None:
    """Raises SettingsError as `trusted_keys` does."""
    keys = trusted_keys(orchestrator.settings)
    # Hashed before the transaction, which the server ends when it idles: a hash takes long on a busy machine.
    users = _missing_users(orchestrator)
    changed = _given_passwords(orchestrator)
    with orchestrator.database.session() as session:
        session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
        _environments(orchestrator, session)
        if not _has_admin(session):
            for user in users:
                session.execute(insert(User).values(user).on_conflict_do_nothing())
        for username, password_hash in changed.items():
            _set_password(session, username, password_hash, orchestrator.settings.given_at)
        _trust(orchestrator, session, keys)


def check_first_passwords(settings: Settings) -> None:
    """Raises SettingsError for one that breaks the rule for passwords."""
    for role, password in _first_passwords(settings).items():
        if password is not None:
            for fault in password_faults(password.get_secret_value(), role.value.lower()):
                raise SettingsError(f"HOTSWAP_{role.value.upper()}_PASSWORD {fault}")


def prepare_folders(settings: Settings) -> None:
    """Raises Unavailable when the artifact store cannot be made or written."""
    ArtifactStore(settings.artifacts_dir).prepare()


def trusted_keys(settings: Settings) -> dict[str, str]:
    """The PEM texts of the key files that are trusted from the start, by the file's name without `.pub`.

    Raises SettingsError for one that is no usable public key.
    """
    found: dict[str, str] = {}
    for file in sorted(settings.trusted_keys_dir.glob("*.pub")) if settings.trusted_keys_dir else ():
        try:
            found[file.stem] = public_pem(load_public(file.read_bytes())).decode("ascii")
        except (OSError, KeyInvalid) as error:
            raise SettingsError(f"HOTSWAP_TRUSTED_KEYS_DIR: {file.name}: {error}") from None
    return found


def _environments(orchestrator: Orchestrator, session: Session) -> None:
    if session.scalar(select(func.count()).select_from(Environment).where(Environment.tenant_id == DEFAULT_TENANT)):
        return
    for position, (name, strategy) in enumerate(_ENVIRONMENTS, start=1):
        session.add(
            Environment(
                id=orchestrator.new_id(),
                name=name,
                position=position,
                policy=replace(Policy(), strategy=strategy).to_json(),
                updated_by=SYSTEM,
            )
        )


def _first_passwords(settings: Settings) -> dict[Role, SecretStr | None]:
    return {
        Role.ADMIN: settings.admin_password,
        Role.DEPLOYER: settings.deployer_password,
        Role.APPROVER: settings.approver_password,
        Role.VIEWER: settings.viewer_password,
    }


def _missing_users(orchestrator: Orchestrator) -> list[dict[str, Any]]:
    """Rows of the built-in users that have a first password and are not there; none once there is an Admin."""
    first_passwords = _first_passwords(orchestrator.settings)
    with orchestrator.database.session() as session:
        if _has_admin(session):
            return []
        known = set(session.scalars(select(User.username).where(User.tenant_id == DEFAULT_TENANT)))
    return [
        {
            "id": orchestrator.new_id(),
            "tenant_id": DEFAULT_TENANT,
            "username": role.value.lower(),
            "email": f"{role.value.lower()}@hotswap.internal",
            "full_name": role.value,
            "password_hash": hash_password(password.get_secret_value()),
            "roles": [role.value],
        }
        for role, password in first_passwords.items()
        if password is not None and role.value.lower() not in known
    ]


def _has_admin(session: Session) -> bool:
    enabled_admin = User.roles.contains([Role.ADMIN.value]) & ~User.disabled
    return bool(session.scalar(select(exists().where(User.tenant_id == DEFAULT_TENANT, enabled_admin))))


def _set_password(session: Session, username: str, password_hash: str, given_at: datetime | None) -> None:
    mine = (User.tenant_id == DEFAULT_TENANT, User.username == username, _unchanged_since(given_at))
    for user_id in session.scalars(
        update(User)
        .where(*mine)
        .values(password_hash=password_hash, password_changed_at=func.hotswap_now(), version=User.version + 1)
        .returning(User.id)
    ).all():
        end_sessions(session, user_id)
        revoke_tokens(session, user_id)


def _given_passwords(orchestrator: Orchestrator) -> dict[str, str]:
    """The new hashes of users who exist and whose given password (`given_passwords`) is another than theirs.

    What somebody changed since they were given stays: a process of the API may well begin long after the stack did.
    """
    settings = orchestrator.settings
    given = {
        role.value.lower(): password
        for role, password in _first_passwords(settings).items()
        if password is not None and role.value.lower() in settings.given_passwords.split(",")
    }
    with orchestrator.database.session() as session:
        rows = session.execute(
            select(User.username, User.password_hash).where(
                User.tenant_id == DEFAULT_TENANT, User.username.in_(list(given)), _unchanged_since(settings.given_at)
            )
        ).all()
    return {
        username: hash_password(given[username].get_secret_value())
        for username, encoded in rows
        if not verify_password(encoded, given[username].get_secret_value())
    }


def _unchanged_since(moment: datetime | None) -> ColumnElement[bool]:
    if moment is None:
        return true()
    return or_(User.password_changed_at.is_(None), User.password_changed_at < moment)


def _trust(orchestrator: Orchestrator, session: Session, keys: Mapping[str, str]) -> None:
    for name, pem in keys.items():
        session.execute(
            insert(PublisherKey)
            .values(
                id=orchestrator.new_id(),
                tenant_id=DEFAULT_TENANT,
                key_id=key_id(load_public(pem.encode("ascii"))),
                name=name,
                public_key=pem,
                environment_id=None,
                created_by=SYSTEM,
            )
            .on_conflict_do_nothing()
        )
