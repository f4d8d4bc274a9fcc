"""Python code, looked at by bandit.

A finding is as grave as bandit says, less one step where bandit is fairly sure and two where it is hardly sure.
Neither `# nosec` nor a configuration in the tree counts. Code of dependencies is not looked at: what is known of them
is in the vulnerability data.
"""

from __future__ import annotations

import logging
import os

from bandit.core.config import BanditConfig
from bandit.core.issue import Issue
from bandit.core.manager import BanditManager
from bandit.core.metrics import Metrics

from app.domain.findings import Severity
from app.infrastructure.scanners.inside.gathering import Gathering
from app.infrastructure.scanners.inside.reading import TooLarge
from app.infrastructure.scanners.inside.walking import FoundFile
from app.infrastructure.scanners.report import Reason

_MOST_BYTES = 4 * 1024 * 1024
_STEPS = {"HIGH": 2, "MEDIUM": 1, "LOW": 0}
_SEVERITIES = (Severity.LOW, Severity.MEDIUM, Severity.HIGH)
# These repeat the password that they found.
_TELLING = {"B105", "B106", "B107"}
# Of high severity for bandit. MD5 and SHA-1 mostly name cache entries and speak old protocols.
_AT_MOST_MEDIUM = {"B324"}


class PythonCode:
    """Holds bandit's rules, which take a while to load."""

    def __init__(self) -> None:
        # Bandit tells of its own errors in its log; which file it was is said in the report.
        logging.getLogger("bandit").setLevel(logging.CRITICAL)
        self._config = BanditConfig()
        self._manager = BanditManager(self._config, "file", ignore_nosec=True)

    def look_at(self, file: FoundFile, gathering: Gathering) -> None:
        """Raises TooLarge; what is no Python that this interpreter knows is left out, and counted."""
        if file.size > _MOST_BYTES:
            raise TooLarge
        manager = self._manager
        # The manager adds up over all files, in time that grows with each.
        manager.results, manager.skipped, manager.scores, manager.metrics = [], [], [], Metrics()
        manager.files_list = [os.fspath(file.path)]
        manager.run_tests()
        if manager.skipped:
            gathering.leave_out(Reason.UNPARSED, file.name)
        for issue in manager.get_issue_list():
            rule = f"bandit.{issue.test_id}"
            gathering.find(_severity(issue), rule, _text(issue), file.name, issue.lineno or None)


def _severity(issue: Issue) -> Severity:
    step = _STEPS.get(issue.severity, 0) - (2 - _STEPS.get(issue.confidence, 0))
    return _SEVERITIES[min(max(step, 0), 1 if issue.test_id in _AT_MOST_MEDIUM else 2)]


def _text(issue: Issue) -> str:
    if issue.test_id in _TELLING:
        return "A password seems to be written into the code."
    return str(issue.text)
