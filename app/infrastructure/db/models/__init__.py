"""Every table, so that migrations and sessions see them all."""

from app.infrastructure.db.models.base import DEFAULT_TENANT, Base
from app.infrastructure.db.models.deployments import (
    Deployment,
    DeploymentEvent,
    IdempotencyKey,
    Lane,
    NodeOperation,
    Stage,
    StageLogPiece,
)
from app.infrastructure.db.models.environments import (
    Environment,
    EnvironmentChange,
    ModulePolicy,
    ModulePolicyChange,
    PublisherKey,
)
from app.infrastructure.db.models.nodes import DesiredRelease, Node, NodeRelease
from app.infrastructure.db.models.releases import BuiltArtifact, Module, PassedTests, Release, ScanReport
from app.infrastructure.db.models.samples import ClusterSample, NodeSample
from app.infrastructure.db.models.tenancy import ApiToken, LoginFailures, LoginSession, Tenant, User
from app.infrastructure.db.models.work import Executor, OutboxRow

__all__ = [
    "DEFAULT_TENANT",
    "ApiToken",
    "Base",
    "BuiltArtifact",
    "ClusterSample",
    "Deployment",
    "DeploymentEvent",
    "DesiredRelease",
    "Environment",
    "EnvironmentChange",
    "Executor",
    "IdempotencyKey",
    "Lane",
    "LoginFailures",
    "LoginSession",
    "Module",
    "ModulePolicy",
    "ModulePolicyChange",
    "Node",
    "NodeOperation",
    "NodeRelease",
    "NodeSample",
    "OutboxRow",
    "PassedTests",
    "PublisherKey",
    "Release",
    "ScanReport",
    "Stage",
    "StageLogPiece",
    "Tenant",
    "User",
]
