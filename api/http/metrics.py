"""Counters of one app, in a registry of their own. Labels are route templates and statuses, never paths or ids."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vault.alarms import Alarms

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120)


class Metrics:
    """What is counted. Thread-safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests: Final = Counter(
            "shredvault_http_requests",
            "Requests, by route template; 499 is a caller that went away.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.seconds: Final = Histogram(
            "shredvault_http_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.received: Final = Counter(
            "shredvault_http_received_bytes", "Bytes of bodies that came in.", registry=self._registry
        )
        self.in_flight: Final = Gauge("shredvault_uploads_in_flight", "Uploads under way.", registry=self._registry)
        self.aborted: Final = Counter(
            "shredvault_uploads_aborted",
            "Uploads that were begun and came to nothing, by problem.",
            ["problem"],
            registry=self._registry,
        )
        self.reads: Final = Counter(
            "shredvault_reads", "Records and documents read.", ["kind"], registry=self._registry
        )

        self.suspect: Final = Gauge("shredvault_time_suspect", "1 while time is suspect.", registry=self._registry)
        self.overdue: Final = Gauge(
            "shredvault_records_overdue",
            "Records that should be gone and are not held, by what is over: their quarter, or the last limit.",
            ["limit"],
            registry=self._registry,
        )
        self.days_left: Final = Gauge(
            "shredvault_sunset_days_left",
            "Days to the deadline of a sunset that has not latched; negative when it is over, +Inf without one.",
            registry=self._registry,
        )
        self.renewal: Final = Gauge(
            "shredvault_master_renewal_hours_left",
            "Hours until the active master key ends by itself though it must not any more; +Inf while it ends rightly.",
            registry=self._registry,
        )
        self.ledger: Final = Gauge(
            "shredvault_ledger_broken",
            "1 when the ledger is not what it was, or the catalogue is older than it; NaN while that is not known.",
            registry=self._registry,
        )
        self.ledger.set(float("nan"))

    def show(self, alarms: Alarms) -> None:
        """Take over what the catalogue says."""
        self.suspect.set(alarms.time.suspect_since is not None)
        self.overdue.labels("quarter").set(alarms.overdue.past_quarter)
        self.overdue.labels("last").set(alarms.overdue.past_limit)
        left = alarms.ends_wrongly_in
        self.renewal.set(float("inf") if left is None else left / timedelta(hours=1))
        waiting = alarms.deadline if alarms.deadline is not None and alarms.deadline.latched_at is None else None
        self.days_left.set(waiting.days_left if waiting is not None else float("inf"))

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
