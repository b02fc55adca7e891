"""`shredvault order draft release`: the order that lets a hold protect less (H3).

What the hold does not have is refused when the order is drafted, and again when it is carried out: it may have changed.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vault.destruction.drafting import Terms, draft
from vault.destruction.releasing import release_scope
from vault.home import open_vault
from vault.orders.actions import Action

from .exits import CommandError, ExitCode
from .manual import described
from .orders import CoolingOff, Days, LegalBasis, Out, Reason, tell_draft
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["release_draft"]


@described
def release_draft(
    *,
    hold_id: Annotated[str, typer.Argument(metavar="HOLD_ID", help="The hold, from `hold list`.")],
    act: Annotated[
        str, typer.Option(help="The act that releases: a stipulation, an order of the court, and its date.")
    ],
    reason: Reason,
    legal_basis: LegalBasis,
    stay: Annotated[
        str | None, typer.Option(help="A stay of the release that is on. [dim]Default: there is none.[/dim]")
    ] = None,
    stay_until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Its last day; nothing is released before that is over.")
    ] = None,
    record: Annotated[
        list[str] | None,
        typer.Option("--record", metavar="RECORD_ID", help="Narrow: only this record leaves the hold; repeatable."),
    ] = None,
    scope: Annotated[
        list[int] | None,
        typer.Option("--scope", metavar="NUMBER", help="Narrow: only this rule of `hold show` ends; repeatable."),
    ] = None,
    ends: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Shorten: an earlier end date. Nothing ends by itself on that day."),
    ] = None,
    tail_days: Annotated[
        int | None, typer.Option(help="How long it protects afterwards. [dim]Default: the hold's own tail.[/dim]")
    ] = None,
    tail_reason: Annotated[str | None, typer.Option(help="Why the tail is shorter than the hold's.")] = None,
    days: Days = 14,
    cooling_off: CoolingOff = None,
    out: Out = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the order to release a hold: whole, or the records and rules that are named, or to an earlier end date.

    Counsel signs it, and the records officer or the agency head. It is carried out with `hold release`.

    \b
    Examples:
      shredvault order draft release HOLD_ID --act "Stipulation, 4 May 2017" --reason … --legal-basis …
      shredvault order draft release HOLD_ID --record 4n8m2k6q0w1x3z5v7t9r2p4m6k --act … --reason … --legal-basis …
    """  # noqa: D301
    change = _change(record or [], scope or [], ends, tail_days, tail_reason)
    with open_vault(load_settings(home=home).home_folder) as vault:
        named = release_scope(vault, hold_id, change, act, _stay(stay, stay_until))
        order = draft(vault, Action.RELEASE, named, Terms(reason, legal_basis, days, cooling_off))
        tell_draft(vault, order, out, as_json=as_json)


def _stay(what: str | None, until: str | None) -> dict[str, str] | None:
    """The stay as the order says it."""
    if (what is None) != (until is None):
        message = (
            "A stay is named with its last day, --stay-until. While one without an end runs nothing can be released: "
            "draft the order when it is known."
        )
        raise CommandError(ExitCode.USAGE, message)
    return None if what is None or until is None else {"what": what, "until": until}


def _change(
    records: list[str], scopes: list[int], ends: str | None, tail_days: int | None, tail_reason: str | None
) -> dict[str, Any]:
    """What is to become of the hold, as the order says it."""
    tail = {"tail_days": tail_days, "tail_reason": tail_reason}
    given = {name: value for name, value in tail.items() if value is not None}
    if ends is not None:
        if records or scopes or given:
            message = "An earlier end date ends nothing, and goes with no record, rule or tail; draft two orders."
            raise CommandError(ExitCode.USAGE, message)
        return {"do": "shorten", "ends_on": ends}
    if records or scopes:
        return {"do": "narrow", "records": records, "scopes": scopes, **given}
    return {"do": "release", **given}
