"""The rules as PostgreSQL triggers: each has a function of its name, for conditions may look at other tables.

The functions look for tables in the vault's schema before all others, so a temporary table of the same name
deceives no rule.
"""

from __future__ import annotations

from .rules import Count, Forbid

__all__ = ["triggers", "truncation"]


def triggers(rule: Forbid | Count, schema: str) -> tuple[str, str]:
    """The statements that make a rule's function and its trigger; `schema` is quoted as SQL wants it."""
    if isinstance(rule, Count):
        moment = "AFTER"
        body = f"UPDATE cohorts SET revision = revision + 1 WHERE id IN ({rule.cohorts})"
    else:
        moment = "BEFORE"
        body = f"IF {rule.when or 'true'} THEN {_refusal(rule.message)}; END IF"
    row = "OLD" if rule.event == "DELETE" else "NEW"
    return (
        _function(rule.name, f"{body}; RETURN {row};", schema),
        f"CREATE TRIGGER {rule.name} {moment} {rule.event} ON {rule.table} FOR EACH ROW EXECUTE FUNCTION {rule.name}()",
    )


def truncation(rule: Forbid, schema: str) -> tuple[str, str]:
    """What a rule on deleting must have beside it: TRUNCATE passes by the triggers of rows."""
    name = f"{rule.table}_are_not_truncated"
    return (
        _function(name, f"{_refusal(rule.message)};", schema),
        f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {rule.table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
    )


def _function(name: str, body: str, schema: str) -> str:
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp "
        f"AS $rule$ BEGIN {body} END $rule$"
    )


def _refusal(message: str) -> str:
    return f"RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE = '{message}'"
