"""What may change in the tables of the first schema, and the view of states: written once, for every database.

Conditions are SQL that SQLite and PostgreSQL understand alike; `on_sqlite` and `on_postgresql` make triggers of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["RULES", "VIEW", "Count", "Forbid"]


@dataclass(frozen=True, slots=True)
class Forbid:
    """A change of one row that is refused before it happens, always or under a condition on OLD and NEW."""

    name: str
    event: str
    """`INSERT`, `DELETE`, `UPDATE` or `UPDATE OF column, column`."""
    table: str
    when: str
    message: str


@dataclass(frozen=True, slots=True)
class Count:
    """Counts every change that may matter to a frozen list, per cohort: the condemning transaction compares."""

    name: str
    event: str
    table: str
    cohorts: str
    """Numbers of the cohorts concerned: an expression on NEW, or a query."""


_ACTIVE_HOLD: Final = "FROM hold_records hr JOIN holds h ON h.id = hr.hold_id AND h.released_at IS NULL"
_ENDED: Final = "(m.given_up_at IS NOT NULL OR m.destroyed_at IS NOT NULL)"

VIEW: Final = """
CREATE VIEW record_states AS
SELECT r.id, r.cohort_id, r.slot,
       CASE WHEN d.id IS NULL THEN CASE WHEN r.completed_at IS NULL THEN 'receiving' ELSE 'retained' END
            WHEN r.completed_at IS NULL THEN 'abandoned'
            WHEN d.completed_at IS NULL THEN 'condemned'
            ELSE 'destroyed' END AS state,
       d.id AS destruction_id,
       r.opened_at, r.opened_by, r.completed_at, r.due_on, r.policy_version, r.body_tag, r.sheet
  FROM records r
  JOIN cohorts c ON c.id = r.cohort_id
  LEFT JOIN destructions d
         ON d.id = COALESCE(r.condemned_by, CASE WHEN r.spared THEN NULL ELSE c.condemned_by END)
"""

RULES: Final[tuple[Forbid | Count, ...]] = (
    *(
        Forbid(f"{table}_stay", "DELETE", table, "", f"{table} are never deleted")
        for table in (
            *("records", "cohorts", "destructions", "journal", "hold_records", "holds", "reads"),
            *("policies", "orders", "lists", "list_slots", "ledger_nodes", "certificates"),
        )
    ),
    Forbid("journal_is_append_only", "UPDATE", "journal", "", "the journal is append-only"),
    Forbid(
        "journal_has_no_gaps",
        "INSERT",
        "journal",
        "NEW.id <> (SELECT COALESCE(MAX(id), 0) + 1 FROM journal)",
        "journal entries are numbered without gaps, in the order of their commits",
    ),
    *(
        Forbid(f"{table}_are_append_only", "UPDATE", table, "", f"{table} are append-only")
        for table in ("policies", "lists", "list_slots", "ledger_nodes", "certificates")
    ),
    Forbid(
        "policies_follow_one_another",
        "INSERT",
        "policies",
        "NEW.version <= (SELECT COALESCE(MAX(version), 0) FROM policies)",
        "a version of the policy is newer than all before it",
    ),
    Forbid(
        "certificates_follow_completion",
        "INSERT",
        "certificates",
        "NOT EXISTS (SELECT 1 FROM destructions WHERE id = NEW.id AND completed_at IS NOT NULL)",
        "a certificate is of a completed destruction",
    ),
    Forbid(
        "orders_are_used_once",
        "UPDATE",
        "orders",
        "OLD.used_at IS NOT NULL OR OLD.void_reason IS NOT NULL OR NEW.id <> OLD.id OR NEW.action <> OLD.action "
        "OR NEW.body <> OLD.body OR NEW.policy_version <> OLD.policy_version OR NEW.accepted_at <> OLD.accepted_at "
        "OR NEW.effective_at <> OLD.effective_at OR NEW.expires_at <> OLD.expires_at",
        "an order is used once, and stays as it was accepted",
    ),
    Forbid("reads_are_append_only", "UPDATE", "reads", "", "reads are append-only"),
    Forbid(
        "records_enter_open_cohorts",
        "INSERT",
        "records",
        "NOT EXISTS (SELECT 1 FROM cohorts WHERE id = NEW.cohort_id AND closed_at IS NULL AND NEW.slot < next_slot)",
        "a record needs a slot given out by an open cohort",
    ),
    Forbid(
        "records_keep_their_place",
        "UPDATE OF id, cohort_id, slot, policy_version, opened_at",
        "records",
        "",
        "a record keeps its id, slot and policy",
    ),
    Forbid(
        "records_are_completed_once",
        "UPDATE OF completed_at",
        "records",
        "OLD.completed_at IS NOT NULL OR (SELECT state FROM record_states WHERE id = OLD.id) <> 'receiving'",
        "the retention clock starts once",
    ),
    Forbid(
        "records_are_condemned_once",
        "UPDATE OF condemned_by",
        "records",
        "(SELECT state FROM record_states WHERE id = OLD.id) NOT IN ('receiving', 'retained')",
        "a condemned record stays condemned",
    ),
    Forbid(
        "held_records_are_not_condemned",
        "UPDATE OF condemned_by",
        "records",
        f"NEW.condemned_by IS NOT NULL AND EXISTS (SELECT 1 {_ACTIVE_HOLD} WHERE hr.record_id = OLD.id)",
        "a held record cannot be condemned",
    ),
    Forbid(
        "records_are_spared_before_their_cohort_is_condemned",
        "UPDATE OF spared",
        "records",
        "OLD.spared OR EXISTS (SELECT 1 FROM cohorts WHERE id = OLD.cohort_id AND condemned_by IS NOT NULL)",
        "a record is spared once, before its cohort is condemned",
    ),
    Forbid(
        "only_destroyed_records_are_reclaimed",
        "UPDATE OF reclaimed",
        "records",
        "OLD.reclaimed OR NOT EXISTS (SELECT 1 FROM record_states s JOIN destructions d ON d.id = s.destruction_id "
        "WHERE s.id = OLD.id AND d.completed_at IS NOT NULL)",
        "only destroyed records are reclaimed",
    ),
    Forbid(
        "documents_go_with_their_record",
        "DELETE",
        "documents",
        "NOT EXISTS (SELECT 1 FROM record_states s JOIN destructions d ON d.id = s.destruction_id "
        "WHERE s.id = OLD.record_id AND d.completed_at IS NOT NULL)",
        "documents are removed only after their record was destroyed",
    ),
    Forbid(
        "documents_enter_receiving_records",
        "INSERT",
        "documents",
        "(SELECT state FROM record_states WHERE id = NEW.record_id) <> 'receiving'",
        "only a receiving record takes documents",
    ),
    Forbid(
        "cohorts_close_once",
        "UPDATE OF closed_at, next_slot",
        "cohorts",
        "OLD.closed_at IS NOT NULL OR NEW.next_slot < OLD.next_slot",
        "a closed cohort stays closed and slots are used once",
    ),
    Forbid(
        "cohorts_are_condemned_once",
        "UPDATE OF condemned_by",
        "cohorts",
        "OLD.condemned_by IS NOT NULL",
        "a condemned cohort stays condemned",
    ),
    Forbid(
        "cohorts_with_held_records_are_not_condemned",
        "UPDATE OF condemned_by",
        "cohorts",
        f"EXISTS (SELECT 1 {_ACTIVE_HOLD} JOIN records r ON r.id = hr.record_id "
        "WHERE hr.cohort_id = OLD.id AND NOT r.spared)",
        "a held record cannot be condemned",
    ),
    Forbid(
        "holds_protect_living_records",
        "INSERT",
        "hold_records",
        "(SELECT state FROM record_states WHERE id = NEW.record_id) NOT IN ('receiving', 'retained') "
        "OR NEW.cohort_id <> (SELECT cohort_id FROM records WHERE id = NEW.record_id)",
        "only a living record can be held",
    ),
    Forbid(
        "holds_are_released_once",
        "UPDATE",
        "holds",
        "OLD.released_at IS NOT NULL OR NEW.id <> OLD.id",
        "a hold is released once",
    ),
    Forbid(
        "trees_go_forward",
        "UPDATE OF version",
        "trees",
        "NEW.version <= OLD.version",
        "a tree never goes back",
    ),
    Forbid(
        "masters_die_once",
        "UPDATE OF destroyed_at",
        "masters",
        "OLD.destroyed_at IS NOT NULL",
        "a destroyed master stays destroyed",
    ),
    Forbid(
        "masters_in_use_are_not_given_up",
        "UPDATE OF given_up_at",
        "masters",
        "OLD.given_up_at IS NOT NULL OR EXISTS (SELECT 1 FROM roots r "
        "JOIN trees t ON t.tree = r.tree AND t.version = r.version WHERE r.master = OLD.name)",
        "a master is given up once, and never while its tree is in use",
    ),
    Forbid(
        "roots_stand_under_living_masters",
        "INSERT",
        "roots",
        f"EXISTS (SELECT 1 FROM masters m WHERE m.name = NEW.master AND {_ENDED})",
        "nothing is built on a master that was given up",
    ),
    Forbid(
        "trees_go_to_living_roots",
        "UPDATE OF version",
        "trees",
        "NOT EXISTS (SELECT 1 FROM roots r JOIN masters m ON m.name = r.master "
        f"WHERE r.tree = NEW.tree AND r.version = NEW.version AND NOT ({_ENDED}))",
        "a tree goes only to a root whose master lives",
    ),
    Forbid(
        "destructions_are_carried_out",
        "UPDATE OF condemned_at, fenced_at, completed_at, abandoned_at",
        "destructions",
        "OLD.completed_at IS NOT NULL OR OLD.abandoned_at IS NOT NULL "
        "OR (OLD.condemned_at IS NOT NULL AND (NEW.condemned_at IS NULL OR NEW.condemned_at <> OLD.condemned_at))",
        "the steps of a destruction are taken once",
    ),
    Forbid(
        "destructions_have_authority",
        "UPDATE OF condemned_at",
        "destructions",
        "NEW.condemned_at IS NOT NULL AND OLD.condemned_at IS NULL AND ("
        "(NEW.kind IN ('scrub', 'destroy') "
        "AND NOT EXISTS (SELECT 1 FROM orders WHERE id = NEW.order_id AND action = NEW.kind AND used_by = NEW.id)) "
        "OR (NEW.kind = 'sweep' AND NEW.policy_version <> (SELECT MAX(version) FROM policies)))",
        "nothing is condemned without authority: a sweep under the policy in force, everything else under its order",
    ),
    Forbid(
        "due_dates_come_nearer",
        "UPDATE OF due_on",
        "records",
        "NEW.due_on > OLD.due_on",
        "a due date is never put off",
    ),
    Count("cohort_counts_filing", "INSERT", "records", "NEW.cohort_id"),
    Count("cohort_counts_changes", "UPDATE OF completed_at, condemned_by, spared", "records", "NEW.cohort_id"),
    Count("cohort_counts_holds", "INSERT", "hold_records", "NEW.cohort_id"),
    Count(
        "cohort_counts_releases",
        "UPDATE OF released_at",
        "holds",
        "SELECT cohort_id FROM hold_records WHERE hold_id = NEW.id",
    ),
)
