"""The gate before Deploy: a skipped stage has passed from the start, and opens nothing by that."""

from __future__ import annotations

import itertools

from app.domain.deployment import StageKind
from app.domain.pipeline import AFTER


def test_every_stage_waits_for_all_that_stand_before_it_in_the_picture() -> None:
    """A skipped stage in between must not hide the ones before it."""
    for kind, before in AFTER.items():
        further = set(itertools.chain.from_iterable(AFTER[each] for each in before))
        if kind is not StageKind.VALIDATION:
            assert further <= set(before), f"{kind} would not wait for {further - set(before)}"


def test_deploy_waits_for_the_scan_even_when_approval_is_skipped() -> None:
    assert StageKind.SCAN in AFTER[StageKind.DEPLOY]
