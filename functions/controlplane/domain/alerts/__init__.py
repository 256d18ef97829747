"""Alerts, written for people: what happened, why, what was done, what to do. Each has an identity: told once."""

from .alert import Alert
from .of_incidents import alarm_changed, tasks_crash
from .of_releases import person_decided, release_overtaken, release_refused, release_settled, service_left, went_back
from .of_runs import budget_used_up, drops_refused, few_pools, machine_orphaned, run_ended, run_waits, run_waits_id
from .of_scans import scan_failed, scan_found, scan_refused, scan_without_verdict

__all__ = [
    "Alert",
    "alarm_changed",
    "budget_used_up",
    "drops_refused",
    "few_pools",
    "machine_orphaned",
    "person_decided",
    "release_overtaken",
    "release_refused",
    "release_settled",
    "run_ended",
    "run_waits",
    "run_waits_id",
    "scan_failed",
    "scan_found",
    "scan_refused",
    "scan_without_verdict",
    "service_left",
    "tasks_crash",
    "went_back",
]
