"""What may change in the tables of the first schema, and the view of states: written once, for every database.

Conditions are SQL that SQLite and PostgreSQL understand alike; `on_sqlite` and `on_postgresql` make triggers of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["HOLDS_VIEW", "RULES", "VIEW", "Count", "Forbid"]


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

HOLDS_VIEW: Final = """
CREATE VIEW record_holds AS
SELECT r.id AS record_id, n.cohort_id, r.slot, r.spared, n.hold_id, n.ends_at
  FROM hold_records n
  JOIN records r ON r.id = n.record_id
  JOIN cohorts c ON c.id = n.cohort_id
 WHERE n.ended_at IS NULL AND r.condemned_by IS NULL AND (r.spared OR c.condemned_by IS NULL)
UNION ALL
SELECT r.id AS record_id, r.cohort_id, r.slot, r.spared, s.hold_id, s.ends_at
  FROM hold_scopes s
 CROSS JOIN records r
  JOIN cohorts c ON c.id = r.cohort_id
 WHERE s.ended_at IS NULL AND r.condemned_by IS NULL AND (r.spared OR c.condemned_by IS NULL)
   AND (s.captured_by IS NULL OR r.opened_at <= s.captured_by)
   AND ((s.since IS NULL OR r.opened_at >= s.since) AND (s.until IS NULL OR r.opened_at < s.until)
        OR r.completed_at IS NOT NULL
        AND (s.since IS NULL OR r.completed_at >= s.since) AND (s.until IS NULL OR r.completed_at < s.until))
   AND (s.center IS NULL OR r.opened_by IS NULL
        OR s.center = (SELECT t.label FROM access_tokens t WHERE t.id = r.opened_by))
"""
"""Who is held, by what (H1, H8): one row for each living record and each part of a hold in force that matches it.

The one place where that is said; the predicate, these rules and the copying of keys all ask it. A record whose center
is not known any more matches every center: protecting errs on the safe side. Nothing but the end of a part makes a row
go, as long as the record lives.

Holds are few and records many, so each half begins with the holds; SQLite keeps to the order of a CROSS JOIN. Whole
cohorts are condemned by the hundred under one question each, which must not look at all their records.
"""

_LIVING_COHORTS: Final = "SELECT id FROM cohorts WHERE condemned_by IS NULL"
_PARTS: Final = ("hold_records", "hold_scopes")

RULES: Final[tuple[Forbid | Count, ...]] = (
    *(
        Forbid(f"{table}_stay", "DELETE", table, "", f"{table} are never deleted")
        for table in (
            *("records", "cohorts", "destructions", "journal", "hold_records", "hold_scopes", "holds", "reads"),
            *("policies", "orders", "lists", "list_slots", "time_marks", "sunsets", "ledger_nodes", "certificates"),
            "gone_records",
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
    # S2: without it the default, or an earlier decision, would stand.
    Forbid(
        "decisions_are_not_taken_back",
        "UPDATE OF void_reason",
        "orders",
        "NEW.void_reason IS NOT NULL AND NEW.action IN ('preserve', 'destroy-at-sunset', 'partial')",
        "a decision about a sunset is replaced, not taken back",
    ),
    # T5: trusted time only goes back where two persons clear a suspicion.
    Forbid(
        "trusted_time_goes_forward",
        "UPDATE OF high_water",
        "time_marks",
        "NEW.high_water < OLD.high_water AND (OLD.suspect_since IS NULL OR NEW.suspect_since IS NOT NULL)",
        "trusted time does not go back",
    ),
    # S4: what has latched stays as it is.
    Forbid(
        "sunsets_latch_once",
        "UPDATE OF deadline, ends_at, latched_at, outcome, order_id, covers, kept, kept_until",
        "sunsets",
        "OLD.latched_at IS NOT NULL",
        "the outcome of a sunset stays",
    ),
    Forbid("gone_records_are_append_only", "UPDATE", "gone_records", "", "what was destroyed stays destroyed"),
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
        "NEW.condemned_by IS NOT NULL AND EXISTS (SELECT 1 FROM record_holds WHERE record_id = OLD.id)",
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
        "EXISTS (SELECT 1 FROM record_holds WHERE cohort_id = OLD.id AND NOT spared)",
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
        "OLD.released_at IS NOT NULL OR NEW.id <> OLD.id OR NEW.kind <> OLD.kind OR NEW.entered_at <> OLD.entered_at",
        "a hold is released once, and stays what it is",
    ),
    Forbid(
        "holds_are_released_when_all_parts_have_ended",
        "UPDATE OF released_at",
        "holds",
        "EXISTS (SELECT 1 FROM hold_records WHERE hold_id = OLD.id AND ended_at IS NULL) "
        "OR EXISTS (SELECT 1 FROM hold_scopes WHERE hold_id = OLD.id AND ended_at IS NULL)",
        "a hold is released when all its parts have ended",
    ),
    # No part of a hold ends but under an order (H3), and after its tail (H5); an end date ends nothing (H4).
    *(
        Forbid(
            f"{table}_end_on_orders",
            "UPDATE",
            table,
            "NEW.hold_id <> OLD.hold_id OR NEW.ends_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM orders o "
            "WHERE o.id = NEW.ending_order AND o.action = 'release' AND o.used_by = NEW.hold_id)",
            "a hold ends on an order only",
        )
        for table in _PARTS
    ),
    *(
        Forbid(
            f"{table}_end_after_their_tail",
            "UPDATE OF ended_at",
            table,
            "NEW.ended_at IS NOT NULL "
            "AND (OLD.ended_at IS NOT NULL OR NEW.ends_at IS NULL OR NEW.ends_at > NEW.ended_at)",
            "a part of a hold ends once, and not before its tail is over",
        )
        for table in _PARTS
    ),
    Forbid(
        "hold_records_stay_what_they_are",
        "UPDATE",
        "hold_records",
        "NEW.record_id <> OLD.record_id OR NEW.cohort_id <> OLD.cohort_id OR (NEW.ended_at IS NULL "
        "AND (SELECT state FROM record_states WHERE id = NEW.record_id) NOT IN ('receiving', 'retained'))",
        "a hold keeps its records",
    ),
    Forbid(
        "hold_scopes_stay_what_they_are",
        "UPDATE OF number, since, until, center, captured_by",
        "hold_scopes",
        "",
        "a hold keeps its scope",
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
        "OR (NEW.kind = 'sweep' AND NEW.policy_version <> (SELECT MAX(version) FROM policies)) "
        "OR (NEW.kind = 'sunset' AND NOT EXISTS (SELECT 1 FROM sunsets WHERE latched_at IS NOT NULL "
        "AND outcome <> 'PRESERVE' AND COALESCE(order_id, '') = COALESCE(NEW.order_id, ''))))",
        "nothing is condemned without authority: a sweep under the policy in force, what a sunset has left under what "
        "has latched, everything else under its order",
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
    Count("cohort_counts_endings", "UPDATE OF ends_at, ended_at", "hold_records", "NEW.cohort_id"),
    # H8: what a scope matches is asked again in every cohort, by whoever condemns after this commits.
    Count("cohorts_count_scopes", "INSERT", "hold_scopes", _LIVING_COHORTS),
    Count("cohorts_count_ends_of_scopes", "UPDATE OF ends_at, ended_at", "hold_scopes", _LIVING_COHORTS),
)
