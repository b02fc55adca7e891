"""The rules as SQLite triggers."""

from __future__ import annotations

from .rules import Count, Forbid

__all__ = ["trigger"]


def trigger(rule: Forbid | Count) -> str:
    """The statement that makes a rule's trigger."""
    if isinstance(rule, Count):
        count = "UPDATE cohorts SET revision = revision + 1"
        return (
            f"CREATE TRIGGER {rule.name} AFTER {rule.event} ON {rule.table} "
            f"BEGIN {count} WHERE id IN ({rule.cohorts}); END"
        )
    condition = f"WHEN {rule.when} " if rule.when else ""
    return (
        f"CREATE TRIGGER {rule.name} BEFORE {rule.event} ON {rule.table} {condition}"
        f"BEGIN SELECT RAISE(ABORT, '{rule.message}'); END"
    )
