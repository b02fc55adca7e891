"""The tables of the law: marks of time, accepted orders and the lists that await them, certificates of what was done.

See `vault.clocks.trusted_time`, `vault.orders`, `vault.sunset` and `vault.certificates`.
"""

from __future__ import annotations

import sqlalchemy as sa

from .schema import Instant, metadata

__all__ = ["certificates", "list_slots", "lists", "orders", "sunsets", "time_marks"]

# What is remembered of the clocks (T5). See `vault.clocks.trusted_time`.
time_marks = sa.Table(
    "time_marks",
    metadata,
    sa.Column("only", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("high_water", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("boot", sa.String(40), nullable=False),
    # Microseconds since that boot.
    sa.Column("steady", sa.BigInteger, nullable=False),
    sa.Column("suspect_since", Instant),
    sa.Column("why", sa.String(200)),
    sa.CheckConstraint('"only" = 1', name="one_time"),
    sa.CheckConstraint("(suspect_since IS NULL) = (why IS NULL)", name="suspect_for_a_reason"),
)

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

# The deadlines there were, and what became of each (S4). See `vault.sunset`.
sunsets = sa.Table(
    "sunsets",
    metadata,
    sa.Column("deadline", sa.Date, primary_key=True),
    # The end of that day in the program's time zone: what was opened before is meant.
    sa.Column("ends_at", Instant, nullable=False),
    # The last notice that was given, in days before (S6).
    sa.Column("notified", sa.Integer),
    sa.Column("latched_at", Instant),
    sa.Column("outcome", sa.String(20)),
    sa.Column("order_id", sa.String(26), sa.ForeignKey("orders.id")),
    # Filing periods that are meant (none: the whole program) and those that are kept, as instants [from, to), and
    # until when.
    sa.Column("covers", sa.JSON),
    sa.Column("kept", sa.JSON),
    sa.Column("kept_until", Instant),
    # The last deferral statement (S5), and how many were held then.
    sa.Column("deferred_at", Instant),
    sa.Column("deferred", sa.Integer),
    sa.CheckConstraint("(latched_at IS NULL) = (outcome IS NULL)", name="latched_with_outcome"),
    sa.CheckConstraint("latched_at IS NULL OR latched_at >= ends_at", name="not_latched_early"),
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
