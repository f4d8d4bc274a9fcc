"""The `hotswap` command: only the composition. A command's module is imported when that command is asked for."""

from __future__ import annotations

from app.cli.lazy import Entry, Takes
from app.cli.program import run

# In the order of the help.
COMMANDS = (
    Entry("up", "app.cli.up:app", "Run the whole stack on this machine.", Takes.NOTHING),
    Entry("doctor", "app.cli.doctor:doctor", "What this machine lacks, and what to do.", Takes.OUTPUT),
    Entry("init", "app.cli.init:init", "A module to start from, in a new folder.", Takes.OUTPUT),
    Entry("lint", "app.cli.lint:lint", "What the server would say about a module.", Takes.OUTPUT),
    Entry("login", "app.cli.login:login", "Log in, and stay logged in."),
    Entry("logout", "app.cli.login:logout", "Forget the login, here and on the server."),
    Entry("whoami", "app.cli.login:whoami", "As whom the server knows you."),
    Entry("server", "app.cli.server:app", "Servers that have a name: list, use, remove."),
    Entry("keys", "app.cli.keys:app", "Publishers' keys: generate, trust, list."),
    Entry("release", "app.cli.release:app", "Releases of a module: publish, list, show."),
    Entry("deploy", "app.cli.deploy:deploy", "Bring a release to an environment."),
    Entry("rollback", "app.cli.deploy:rollback", "Bring back what ran before."),
    Entry("status", "app.cli.status:status", "What runs where."),
    Entry("deployment", "app.cli.deployment:app", "Deployments: list, show, watch, cancel, pause, ..."),
    Entry("approval", "app.cli.approval:app", "Approvals: list, approve, reject."),
    Entry("node", "app.cli.node:app", "Nodes: list, show, log, drain, undrain, remove."),
    Entry("cluster", "app.cli.cluster:app", "The nodes of one environment and what they run."),
    Entry("environment", "app.cli.environment:app", "Environments and their policies: show, edit, apply."),
    Entry("user", "app.cli.user:app", "Users: list, show, add, change, remove, password."),
    Entry("token", "app.cli.api_token:app", "API tokens for build servers: list, create, revoke."),
    Entry("completion", "app.cli.completion:completion", "Shell completion for bash, zsh or fish.", Takes.OUTPUT),
)


def main() -> None:
    """The console script."""
    raise SystemExit(int(run(COMMANDS)))


if __name__ == "__main__":
    main()
