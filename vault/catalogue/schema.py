"""The tables. Facts are stored; states follow from them (view `record_states`), so no state can contradict a fact.

Nothing personal stands in a clear column: names, file names, types, sizes and numbers are in sealed blobs
(`sheet`, `slip`). The schema itself enforces what may change (triggers in the migrations).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

__all__ = [
    "Instant",
    "access_tokens",
    "cohorts",
    "destruction_lists",
    "destructions",
    "documents",
    "gone_records",
    "journal",
    "ledger_nodes",
    "locked_objects",
    "masters",
    "metadata",
    "nodes",
    "policies",
    "reads",
    "record_states",
    "records",
    "roots",
    "sealed_pages",
    "tree_pages",
    "trees",
    "vaults",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(sa.types.TypeDecorator[datetime]):
    """An instant in UTC, stored as whole microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else _EPOCH + value * _MICROSECOND


_KEY_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

vaults = sa.Table(
    "vaults",
    metadata,
    sa.Column("only", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("vault_id", sa.LargeBinary(16), nullable=False),
    sa.Column("founded_at", Instant, nullable=False),
    # How far the journal stands in the bucket, and the SHA-256 of the last ledger object.
    sa.Column("published", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("published_digest", sa.LargeBinary(32), nullable=False),
    sa.CheckConstraint('"only" = 1', name="one_vault"),
)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    # The whole policy, as it was signed.
    sa.Column("document", sa.LargeBinary, nullable=False),
    # Who approved it, with their signatures: over the document itself, or over the order that adopted it.
    sa.Column("approvals", sa.JSON, nullable=False),
    sa.Column("order_id", sa.String(26)),
    sa.Column("adopted_at", Instant, nullable=False),
)

# --- keys ---------------------------------------------------------------------------------------------

masters = sa.Table(
    "masters",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("tree", sa.String(8), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("custodian", sa.String(300), nullable=False),
    # S7: the deadline at which its custodian was told to end it by itself, if it ever does.
    sa.Column("ends_at", Instant),
    sa.Column("given_up_at", Instant),
    sa.Column("destroyed_at", Instant),
    sa.CheckConstraint("tree IN ('active', 'held')", name="tree"),
)

trees = sa.Table(
    "trees",
    metadata,
    sa.Column("tree", sa.String(8), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("next_version", sa.BigInteger, nullable=False),
    sa.CheckConstraint("tree IN ('active', 'held')", name="tree"),
    sa.CheckConstraint("version < next_version", name="version"),
)

roots = sa.Table(
    "roots",
    metadata,
    sa.Column("tree", sa.String(8), sa.ForeignKey("trees.tree"), primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("master", sa.String(64), sa.ForeignKey("masters.name"), nullable=False),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
    sa.Column("sealed_page", sa.LargeBinary, nullable=False),
)

sealed_pages = sa.Table(
    "sealed_pages",
    metadata,
    sa.Column("tree", sa.String(8), sa.ForeignKey("trees.tree"), primary_key=True),
    sa.Column("cohort_id", sa.Integer, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("live", sa.LargeBinary(128), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

# Which version of each cohort's page is current: apart from the blobs, so that a switch writes few bytes.
tree_pages = sa.Table(
    "tree_pages",
    metadata,
    sa.Column("tree", sa.String(8), sa.ForeignKey("trees.tree"), primary_key=True),
    sa.Column("cohort_id", sa.Integer, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
)

# --- records ------------------------------------------------------------------------------------------

cohorts = sa.Table(
    "cohorts",
    metadata,
    sa.Column("id", _KEY_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("due_on", sa.Date, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("closed_at", Instant),
    sa.Column("next_slot", sa.Integer, nullable=False, server_default="1"),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("condemned_by", sa.String(26), sa.ForeignKey("destructions.id")),
    sa.CheckConstraint("next_slot BETWEEN 1 AND 1024", name="next_slot"),
    sa.CheckConstraint("condemned_by IS NULL OR closed_at IS NOT NULL", name="condemned_is_closed"),
    sa.Index("ix_cohorts_due_on", "due_on"),
)

records = sa.Table(
    "records",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("cohort_id", sa.Integer, sa.ForeignKey("cohorts.id"), nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("policy_version", sa.Integer, sa.ForeignKey("policies.version"), nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("completed_at", Instant),
    sa.Column("due_on", sa.Date),
    sa.Column("spared", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("condemned_by", sa.String(26), sa.ForeignKey("destructions.id")),
    sa.Column("reclaimed", sa.Boolean, nullable=False, server_default=sa.false()),
    # What follows is emptied when the record has been destroyed and reclaimed.
    sa.Column("opened_by", sa.String(26), sa.ForeignKey("access_tokens.id")),
    sa.Column("idempotency_hash", sa.LargeBinary(32)),
    sa.Column("body_tag", sa.LargeBinary(32)),
    sa.Column("sheet", sa.LargeBinary),
    sa.UniqueConstraint("cohort_id", "slot"),
    sa.UniqueConstraint("idempotency_hash"),
    sa.CheckConstraint("slot BETWEEN 1 AND 1023", name="slot"),
    sa.CheckConstraint(
        "(completed_at IS NULL AND due_on IS NULL) OR (completed_at IS NOT NULL AND (due_on IS NOT NULL OR reclaimed))",
        name="completed_is_due",
    ),
    sa.CheckConstraint(
        "reclaimed = (sheet IS NULL) AND (NOT reclaimed OR (opened_by IS NULL AND body_tag IS NULL "
        "AND due_on IS NULL))",
        name="reclaimed_is_bare",
    ),
    sa.Index("ix_records_due_on", "due_on"),
    sa.Index("ix_records_condemned_by", "condemned_by"),
)
sa.Index(
    "ix_records_receiving",
    records.c.opened_at,
    sqlite_where=records.c.completed_at.is_(None) & ~records.c.reclaimed,
    postgresql_where=records.c.completed_at.is_(None) & ~records.c.reclaimed,
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("record_id", sa.String(26), sa.ForeignKey("records.id"), nullable=False),
    sa.Column("name_tag", sa.LargeBinary(16), nullable=False),
    sa.Column("object_name", sa.String(64), nullable=False, unique=True),
    sa.Column("slip", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("record_id", "name_tag"),
)

# Destroyed and reclaimed before the catalogue was rebuilt: nothing else is known of them any more.
gone_records = sa.Table(
    "gone_records",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("destruction_id", sa.String(26), sa.ForeignKey("destructions.id"), nullable=False),
)

reads = sa.Table(
    "reads",
    metadata,
    sa.Column("id", _KEY_NUMBER, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("token_id", sa.String(26), sa.ForeignKey("access_tokens.id"), nullable=False),
    sa.Column("record_id", sa.String(26), sa.ForeignKey("records.id"), nullable=False),
    sa.Column("whole_record", sa.Boolean, nullable=False),
    sa.Column("purpose", sa.String(40), nullable=False),
)

# --- access --------------------------------------------------------------------------------------------

access_tokens = sa.Table(
    "access_tokens",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("label", sa.String(80), nullable=False),
    sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("revoked_at", Instant),
    sa.CheckConstraint("role IN ('center', 'reviewer', 'counsel', 'records-officer', 'auditor')", name="role"),
)

# --- destruction --------------------------------------------------------------------------------------

destructions = sa.Table(
    "destructions",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("tree", sa.String(8), sa.ForeignKey("trees.tree"), nullable=False),
    sa.Column("authority", sa.String(200), nullable=False),
    # The order it is under, where it is under one, and the policy that was in force when its list was frozen.
    sa.Column("order_id", sa.String(26), sa.ForeignKey("orders.id")),
    sa.Column("policy_version", sa.Integer, sa.ForeignKey("policies.version"), nullable=False),
    sa.Column("hold_id", sa.String(26), sa.ForeignKey("holds.id")),
    sa.Column("moves_to", sa.String(300)),
    sa.Column("list_root", sa.LargeBinary(32), nullable=False),
    sa.Column("listed", sa.Integer, nullable=False),
    sa.Column("not_listed", sa.JSON, nullable=False),
    sa.Column("withdrawn", sa.Integer, nullable=False, server_default="0"),
    sa.Column("condemned", sa.Integer),
    sa.Column("old_master", sa.String(64), sa.ForeignKey("masters.name")),
    sa.Column("new_master", sa.String(64), sa.ForeignKey("masters.name")),
    sa.Column("old_version", sa.BigInteger),
    sa.Column("staged_version", sa.BigInteger),
    sa.Column("observed", sa.JSON, nullable=False),
    sa.Column("frozen_at", Instant, nullable=False),
    sa.Column("condemned_at", Instant),
    sa.Column("fenced_at", Instant),
    sa.Column("completed_at", Instant),
    # Everything is deleted but what object lock retains; `reclaimed_at` follows when that is gone too.
    sa.Column("freed_at", Instant),
    sa.Column("reclaimed_at", Instant),
    sa.Column("abandoned_at", Instant),
    sa.CheckConstraint("kind IN ('sweep', 'scrub', 'destroy', 'sunset', 'release', 'move')", name="kind"),
    sa.CheckConstraint("abandoned_at IS NULL OR condemned_at IS NULL", name="condemned_is_carried_out"),
    sa.CheckConstraint("fenced_at IS NULL OR condemned_at IS NOT NULL", name="condemned_before_fenced"),
    sa.CheckConstraint("completed_at IS NULL OR fenced_at IS NOT NULL", name="fenced_before_completed"),
    sa.CheckConstraint("freed_at IS NULL OR completed_at IS NOT NULL", name="completed_before_freed"),
    sa.CheckConstraint("reclaimed_at IS NULL OR freed_at IS NOT NULL", name="freed_before_reclaimed"),
)

# Versions in the bucket that should be gone and may not be deleted yet. Their keys are.
locked_objects = sa.Table(
    "locked_objects",
    metadata,
    sa.Column("name", sa.String(1024), primary_key=True),
    sa.Column("version_id", sa.String(1024), primary_key=True),
    # None: left by a broken upload, of no destruction.
    sa.Column("destruction_id", sa.String(26), sa.ForeignKey("destructions.id")),
    # None: a legal hold, which ends when somebody ends it.
    sa.Column("until", Instant),
    sa.Index("ix_locked_objects_destruction_id", "destruction_id"),
    sa.Index("ix_locked_objects_until", "until"),
)

# The frozen list, as one bitmap of slots for each cohort, with the cohort's change counter at that moment.
destruction_lists = sa.Table(
    "destruction_lists",
    metadata,
    sa.Column("destruction_id", sa.String(26), sa.ForeignKey("destructions.id"), primary_key=True),
    sa.Column("cohort_id", sa.Integer, sa.ForeignKey("cohorts.id"), primary_key=True),
    sa.Column("slots", sa.LargeBinary(128), nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

journal = sa.Table(
    "journal",
    metadata,
    # Given out by the writer, not by the database: without gaps, in the order of the commits.
    sa.Column("id", _KEY_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("event", sa.String(40), nullable=False),
    sa.Column("subject", sa.String(64), nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    # Random; the entry's leaf in the Merkle tree commits to the facts with it and does not show them.
    sa.Column("salt", sa.LargeBinary(16), nullable=False),
    sa.Index("ix_journal_event", "event", "id"),
)

# The Merkle tree over the journal: the hash of every complete subtree, of 2^level leaves from position·2^level on.
ledger_nodes = sa.Table(
    "ledger_nodes",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("lease_until", Instant, nullable=False),
    sa.Column("active_version", sa.BigInteger, nullable=False),
    sa.Column("held_version", sa.BigInteger, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("boot", sa.String(80), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("replaced", sa.Boolean, nullable=False),
)

# --- views --------------------------------------------------------------------------------------------

record_states = sa.Table(
    "record_states",
    sa.MetaData(),
    sa.Column("id", sa.String(26)),
    sa.Column("cohort_id", sa.Integer),
    sa.Column("slot", sa.Integer),
    sa.Column("state", sa.String(10)),
    sa.Column("destruction_id", sa.String(26)),
    sa.Column("opened_at", Instant),
    sa.Column("opened_by", sa.String(26)),
    sa.Column("completed_at", Instant),
    sa.Column("due_on", sa.Date),
    sa.Column("policy_version", sa.Integer),
    sa.Column("body_tag", sa.LargeBinary(32)),
    sa.Column("sheet", sa.LargeBinary),
)
"""One row a record, with its state: receiving, retained, condemned, destroyed or abandoned."""
