"""Ticks: short, safe to run twice, triggered by beat."""

from __future__ import annotations

from celery import shared_task

from app.orchestrator import approvals, beat_ticks, collecting, metric_history, repairing
from workers import process


@shared_task(name="control.repair_drift", ignore_result=True)
def repair_drift() -> int:
    return repairing.repair(process.current().orchestrator)


@shared_task(name="control.expire_approvals", ignore_result=True)
def expire_approvals() -> int:
    return approvals.expire(process.current().orchestrator)


@shared_task(name="control.collect_artifacts", ignore_result=True)
def collect_artifacts() -> int:
    return collecting.collect(process.current().orchestrator)


@shared_task(name="control.keep_metric_samples", ignore_result=True)
def keep_metric_samples() -> int:
    return metric_history.keep(process.current().orchestrator)


@shared_task(name="control.record_beat", ignore_result=True)
def record_beat() -> None:
    beat_ticks.record(process.current().orchestrator.settings)
