"""Who is held and what was read; then the views and rules over all tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vault.catalogue.migrations import on_postgresql, on_sqlite
from vault.catalogue.migrations.rules import HOLDS_VIEW, RULES, VIEW, Forbid

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "hold_records",
        sa.Column("hold_id", sa.String(length=26), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("cohort_id", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("ending_order", sa.String(length=26), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohorts.id"], name=op.f("fk_hold_records_cohort_id")),
        sa.ForeignKeyConstraint(["ending_order"], ["orders.id"], name=op.f("fk_hold_records_ending_order")),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name=op.f("fk_hold_records_hold_id")),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_hold_records_record_id")),
        sa.PrimaryKeyConstraint("hold_id", "record_id", name=op.f("pk_hold_records")),
    )
    op.create_index("ix_hold_records_cohort_id", "hold_records", ["cohort_id"], unique=False)
    op.create_index("ix_hold_records_record_id", "hold_records", ["record_id"], unique=False)
    op.create_table(
        "hold_scopes",
        sa.Column("hold_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("filed_from", sa.Date(), nullable=True),
        sa.Column("filed_to", sa.Date(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("center", sa.String(length=80), nullable=True),
        sa.Column("captured_by", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("ending_order", sa.String(length=26), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["ending_order"], ["orders.id"], name=op.f("fk_hold_scopes_ending_order")),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name=op.f("fk_hold_scopes_hold_id")),
        sa.PrimaryKeyConstraint("hold_id", "number", name=op.f("pk_hold_scopes")),
    )
    op.create_table(
        "reads",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("token_id", sa.String(length=26), nullable=False),
        sa.Column("record_id", sa.String(length=26), nullable=False),
        sa.Column("whole_record", sa.Boolean(), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_reads_record_id")),
        sa.ForeignKeyConstraint(["token_id"], ["access_tokens.id"], name=op.f("fk_reads_token_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reads")),
    )
    op.create_table(
        "gone_records",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("destruction_id", sa.String(length=26), nullable=False),
        sa.ForeignKeyConstraint(["destruction_id"], ["destructions.id"], name=op.f("fk_gone_records_destruction_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gone_records")),
    )

    op.execute(VIEW)
    op.execute(HOLDS_VIEW)
    if op.get_bind().dialect.name == "sqlite":
        for rule in RULES:
            op.execute(on_sqlite.trigger(rule))
    else:
        schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
        for rule in RULES:
            for statement in on_postgresql.triggers(rule, schema):
                op.execute(statement)
            if isinstance(rule, Forbid) and rule.event == "DELETE":
                for statement in on_postgresql.truncation(rule, schema):
                    op.execute(statement)
