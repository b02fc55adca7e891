"""The first tables; their rules come with the next revision, when all of them are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "role IN ('center', 'reviewer', 'counsel', 'records-officer', 'auditor')",
            name=op.f("ck_access_tokens_role"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_tokens")),
    )
    op.create_table(
        "time_marks",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("high_water", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.String(length=40), nullable=False),
        sa.Column("steady", sa.BigInteger(), nullable=False),
        sa.Column("suspect_since", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=200), nullable=True),
        sa.CheckConstraint('"only" = 1', name=op.f("ck_time_marks_one_time")),
        sa.CheckConstraint("(suspect_since IS NULL) = (why IS NULL)", name=op.f("ck_time_marks_suspect_for_a_reason")),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_time_marks")),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("authority", sa.String(length=200), nullable=True),
        sa.Column("docket", sa.String(length=60), nullable=True),
        sa.Column("reason", sa.String(length=1000), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("seal_tag", sa.LargeBinary(length=32), nullable=True),
        sa.Column("ordered_at", sa.BigInteger(), nullable=True),
        sa.Column("served_at", sa.BigInteger(), nullable=True),
        sa.Column("effective_at", sa.BigInteger(), nullable=True),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.Column("review_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("tail_days", sa.Integer(), nullable=False),
        sa.Column("tail_reason", sa.String(length=500), nullable=True),
        sa.Column("placer", sa.String(length=80), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(sealed IS NULL) = (docket IS NOT NULL) AND (sealed IS NULL) = (authority IS NOT NULL) "
            "AND (sealed IS NULL OR reason IS NULL) AND (sealed IS NULL) = (seal_tag IS NULL)",
            name=op.f("ck_holds_sealed_or_clear"),
        ),
        sa.CheckConstraint("tail_days >= 0", name=op.f("ck_holds_tail_days")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
    )
    op.create_index("ix_journal_event", "journal", ["event", "id"], unique=False)
    op.create_table(
        "ledger_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_ledger_nodes")),
    )
    op.create_table(
        "masters",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("tree", sa.String(length=8), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("custodian", sa.String(length=300), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("given_up_at", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("tree IN ('active', 'held')", name=op.f("ck_masters_tree")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_masters")),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("active_version", sa.BigInteger(), nullable=False),
        sa.Column("held_version", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("boot", sa.String(length=80), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("replaced", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
    )
    op.create_table(
        "policies",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("approvals", sa.JSON(), nullable=False),
        sa.Column("order_id", sa.String(length=26), nullable=True),
        sa.Column("adopted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policies")),
    )
    op.create_table(
        "trees",
        sa.Column("tree", sa.String(length=8), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("next_version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("tree IN ('active', 'held')", name=op.f("ck_trees_tree")),
        sa.CheckConstraint("version < next_version", name=op.f("ck_trees_version")),
        sa.PrimaryKeyConstraint("tree", name=op.f("pk_trees")),
    )
    op.create_table(
        "vaults",
        sa.Column("only", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("vault_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("founded_at", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("published_digest", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint('"only" = 1', name=op.f("ck_vaults_one_vault")),
        sa.PrimaryKeyConstraint("only", name=op.f("pk_vaults")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("action", sa.String(length=20), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("approvals", sa.JSON(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("effective_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("used_by", sa.String(length=64), nullable=True),
        sa.Column("void_reason", sa.String(length=200), nullable=True),
        sa.CheckConstraint("(used_at IS NULL) = (used_by IS NULL)", name=op.f("ck_orders_used_by_something")),
        sa.CheckConstraint("used_at IS NULL OR void_reason IS NULL", name=op.f("ck_orders_void_is_unused")),
        sa.CheckConstraint("effective_at < expires_at", name=op.f("ck_orders_effective_before_expired")),
        sa.ForeignKeyConstraint(["policy_version"], ["policies.version"], name=op.f("fk_orders_policy_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
    )
    op.create_table(
        "sunsets",
        sa.Column("deadline", sa.Date(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("notified", sa.Integer(), nullable=True),
        sa.Column("latched_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("order_id", sa.String(length=26), nullable=True),
        sa.Column("covers", sa.JSON(), nullable=True),
        sa.Column("kept", sa.JSON(), nullable=True),
        sa.Column("kept_until", sa.BigInteger(), nullable=True),
        sa.Column("deferred_at", sa.BigInteger(), nullable=True),
        sa.Column("deferred", sa.Integer(), nullable=True),
        sa.CheckConstraint("(latched_at IS NULL) = (outcome IS NULL)", name=op.f("ck_sunsets_latched_with_outcome")),
        sa.CheckConstraint("latched_at IS NULL OR latched_at >= ends_at", name=op.f("ck_sunsets_not_latched_early")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_sunsets_order_id")),
        sa.PrimaryKeyConstraint("deadline", name=op.f("pk_sunsets")),
    )
    op.create_table(
        "lists",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("frozen_at", sa.BigInteger(), nullable=False),
        sa.Column("not_listed", sa.JSON(), nullable=False),
        sa.CheckConstraint("kind IN ('scrub', 'destroy')", name=op.f("ck_lists_kind")),
        sa.ForeignKeyConstraint(["policy_version"], ["policies.version"], name=op.f("fk_lists_policy_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lists")),
    )
    op.create_table(
        "destructions",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("tree", sa.String(length=8), nullable=False),
        sa.Column("authority", sa.String(length=200), nullable=False),
        sa.Column("order_id", sa.String(length=26), nullable=True),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("hold_id", sa.String(length=26), nullable=True),
        sa.Column("moves_to", sa.String(length=300), nullable=True),
        sa.Column("list_root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("not_listed", sa.JSON(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), server_default="0", nullable=False),
        sa.Column("condemned", sa.Integer(), nullable=True),
        sa.Column("old_master", sa.String(length=64), nullable=True),
        sa.Column("new_master", sa.String(length=64), nullable=True),
        sa.Column("old_version", sa.BigInteger(), nullable=True),
        sa.Column("staged_version", sa.BigInteger(), nullable=True),
        sa.Column("observed", sa.JSON(), nullable=False),
        sa.Column("frozen_at", sa.BigInteger(), nullable=False),
        sa.Column("condemned_at", sa.BigInteger(), nullable=True),
        sa.Column("fenced_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("freed_at", sa.BigInteger(), nullable=True),
        sa.Column("reclaimed_at", sa.BigInteger(), nullable=True),
        sa.Column("abandoned_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('sweep', 'scrub', 'destroy', 'sunset', 'release', 'move')",
            name=op.f("ck_destructions_kind"),
        ),
        sa.CheckConstraint(
            "abandoned_at IS NULL OR condemned_at IS NULL",
            name=op.f("ck_destructions_condemned_is_carried_out"),
        ),
        sa.CheckConstraint(
            "completed_at IS NULL OR fenced_at IS NOT NULL",
            name=op.f("ck_destructions_fenced_before_completed"),
        ),
        sa.CheckConstraint(
            "fenced_at IS NULL OR condemned_at IS NOT NULL",
            name=op.f("ck_destructions_condemned_before_fenced"),
        ),
        sa.CheckConstraint(
            "freed_at IS NULL OR completed_at IS NOT NULL",
            name=op.f("ck_destructions_completed_before_freed"),
        ),
        sa.CheckConstraint(
            "reclaimed_at IS NULL OR freed_at IS NOT NULL",
            name=op.f("ck_destructions_freed_before_reclaimed"),
        ),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name=op.f("fk_destructions_hold_id")),
        sa.ForeignKeyConstraint(["new_master"], ["masters.name"], name=op.f("fk_destructions_new_master")),
        sa.ForeignKeyConstraint(["old_master"], ["masters.name"], name=op.f("fk_destructions_old_master")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_destructions_order_id")),
        sa.ForeignKeyConstraint(["policy_version"], ["policies.version"], name=op.f("fk_destructions_policy_version")),
        sa.ForeignKeyConstraint(["tree"], ["trees.tree"], name=op.f("fk_destructions_tree")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_destructions")),
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["destructions.id"], name=op.f("fk_certificates_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
    )
    op.create_table(
        "locked_objects",
        sa.Column("name", sa.String(length=1024), nullable=False),
        sa.Column("version_id", sa.String(length=1024), nullable=False),
        sa.Column("destruction_id", sa.String(length=26), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["destruction_id"], ["destructions.id"], name=op.f("fk_locked_objects_destruction_id")),
        sa.PrimaryKeyConstraint("name", "version_id", name=op.f("pk_locked_objects")),
    )
    op.create_index("ix_locked_objects_destruction_id", "locked_objects", ["destruction_id"], unique=False)
    op.create_index("ix_locked_objects_until", "locked_objects", ["until"], unique=False)
    op.create_table(
        "roots",
        sa.Column("tree", sa.String(length=8), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("master", sa.String(length=64), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_page", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["master"], ["masters.name"], name=op.f("fk_roots_master")),
        sa.ForeignKeyConstraint(["tree"], ["trees.tree"], name=op.f("fk_roots_tree")),
        sa.PrimaryKeyConstraint("tree", "version", name=op.f("pk_roots")),
    )
    op.create_table(
        "sealed_pages",
        sa.Column("tree", sa.String(length=8), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.LargeBinary(length=128), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tree"], ["trees.tree"], name=op.f("fk_sealed_pages_tree")),
        sa.PrimaryKeyConstraint("tree", "cohort_id", "version", name=op.f("pk_sealed_pages")),
    )
    op.create_table(
        "tree_pages",
        sa.Column("tree", sa.String(length=8), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tree"], ["trees.tree"], name=op.f("fk_tree_pages_tree")),
        sa.PrimaryKeyConstraint("tree", "cohort_id", name=op.f("pk_tree_pages")),
    )
    op.create_table(
        "cohorts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("next_slot", sa.Integer(), server_default="1", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("condemned_by", sa.String(length=26), nullable=True),
        sa.CheckConstraint(
            "condemned_by IS NULL OR closed_at IS NOT NULL", name=op.f("ck_cohorts_condemned_is_closed")
        ),
        sa.CheckConstraint("next_slot BETWEEN 1 AND 1024", name=op.f("ck_cohorts_next_slot")),
        sa.ForeignKeyConstraint(["condemned_by"], ["destructions.id"], name=op.f("fk_cohorts_condemned_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohorts")),
    )
    op.create_index("ix_cohorts_due_on", "cohorts", ["due_on"], unique=False)
    op.create_table(
        "list_slots",
        sa.Column("list_id", sa.String(length=26), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("slots", sa.LargeBinary(length=128), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_list_slots_cohort_id")),
        sa.ForeignKeyConstraint(["list_id"], ["lists.id"], name=op.f("fk_list_slots_list_id")),
        sa.PrimaryKeyConstraint("list_id", "cohort_id", name=op.f("pk_list_slots")),
    )
    op.create_table(
        "destruction_lists",
        sa.Column("destruction_id", sa.String(length=26), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("slots", sa.LargeBinary(length=128), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_destruction_lists_cohort_id")),
        sa.ForeignKeyConstraint(
            ["destruction_id"], ["destructions.id"], name=op.f("fk_destruction_lists_destruction_id")
        ),
        sa.PrimaryKeyConstraint("destruction_id", "cohort_id", name=op.f("pk_destruction_lists")),
    )
    op.create_table(
        "records",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("spared", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("condemned_by", sa.String(length=26), nullable=True),
        sa.Column("reclaimed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("opened_by", sa.String(length=26), nullable=True),
        sa.Column("idempotency_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("body_tag", sa.LargeBinary(length=32), nullable=True),
        sa.Column("sheet", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "(completed_at IS NULL AND due_on IS NULL) "
            "OR (completed_at IS NOT NULL AND (due_on IS NOT NULL OR reclaimed))",
            name=op.f("ck_records_completed_is_due"),
        ),
        sa.CheckConstraint(
            "reclaimed = (sheet IS NULL) AND (NOT reclaimed OR (opened_by IS NULL AND body_tag IS NULL "
            "AND due_on IS NULL))",
            name=op.f("ck_records_reclaimed_is_bare"),
        ),
        sa.CheckConstraint("slot BETWEEN 1 AND 1023", name=op.f("ck_records_slot")),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_records_cohort_id")),
        sa.ForeignKeyConstraint(["condemned_by"], ["destructions.id"], name=op.f("fk_records_condemned_by")),
        sa.ForeignKeyConstraint(["opened_by"], ["access_tokens.id"], name=op.f("fk_records_opened_by")),
        sa.ForeignKeyConstraint(["policy_version"], ["policies.version"], name=op.f("fk_records_policy_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
        sa.UniqueConstraint("cohort_id", "slot", name=op.f("uq_records_cohort_id_slot")),
        sa.UniqueConstraint("idempotency_hash", name=op.f("uq_records_idempotency_hash")),
    )
    op.create_index("ix_records_condemned_by", "records", ["condemned_by"], unique=False)
    op.create_index("ix_records_due_on", "records", ["due_on"], unique=False)
    op.create_index(
        "ix_records_receiving",
        "records",
        ["opened_at"],
        unique=False,
        sqlite_where=sa.text("completed_at IS NULL AND reclaimed = 0"),
        postgresql_where=sa.text("completed_at IS NULL AND NOT reclaimed"),
    )
    op.create_table(
        "documents",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("name_tag", sa.LargeBinary(length=16), nullable=False),
        sa.Column("object_name", sa.String(length=64), nullable=False),
        sa.Column("slip", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_documents_record_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint("object_name", name=op.f("uq_documents_object_name")),
        sa.UniqueConstraint("record_id", "name_tag", name=op.f("uq_documents_record_id_name_tag")),
    )
