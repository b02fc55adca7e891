"""The tables of the law: orders that were accepted, the lists that await them, certificates of what was done.

See `vault.orders` and `vault.certificates`.
"""

from __future__ import annotations

import sqlalchemy as sa

from .schema import Instant, metadata

__all__ = ["certificates", "list_slots", "lists", "orders"]

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("action", sa.String(20), nullable=False),
    # What was signed, byte for byte, and the signatures that were verified.
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("approvals", sa.JSON, nullable=False),
    sa.Column("policy_version", sa.Integer, sa.ForeignKey("policies.version"), nullable=False),
    sa.Column("accepted_at", Instant, nullable=False),
    sa.Column("effective_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Column("used_at", Instant),
    # Id of what was done under it: a destruction, a hold, a version of the policy.
    sa.Column("used_by", sa.String(64)),
    sa.Column("void_reason", sa.String(200)),
    sa.CheckConstraint("(used_at IS NULL) = (used_by IS NULL)", name="used_by_something"),
    sa.CheckConstraint("used_at IS NULL OR void_reason IS NULL", name="void_is_unused"),
    sa.CheckConstraint("effective_at < expires_at", name="effective_before_expired"),
)

# Lists that await an order, as one bitmap of slots for each cohort.
lists = sa.Table(
    "lists",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("root", sa.LargeBinary(32), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("policy_version", sa.Integer, sa.ForeignKey("policies.version"), nullable=False),
    sa.Column("frozen_at", Instant, nullable=False),
    sa.Column("not_listed", sa.JSON, nullable=False),
    sa.CheckConstraint("kind IN ('scrub', 'destroy')", name="kind"),
)

list_slots = sa.Table(
    "list_slots",
    metadata,
    sa.Column("list_id", sa.String(26), sa.ForeignKey("lists.id"), primary_key=True),
    sa.Column("cohort_id", sa.Integer, sa.ForeignKey("cohorts.id"), primary_key=True),
    sa.Column("slots", sa.LargeBinary(128), nullable=False),
)

# The signed text, byte for byte. A certificate bears the id of its destruction.
certificates = sa.Table(
    "certificates",
    metadata,
    sa.Column("id", sa.String(26), sa.ForeignKey("destructions.id"), primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("issued_at", Instant, nullable=False),
)
