"""`shredvault sunset`: the date on which the program ends, and what is decided about it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from vault.alarms import alarms_of, spoken_alarms
from vault.context import current_policy
from vault.destruction.drafting import Terms, draft
from vault.home import open_vault
from vault.law.schedule import require_decision
from vault.orders import Action
from vault.wording import number_of

from .exits import CommandError, ExitCode
from .manual import described
from .screen import facts, note, print_json, say, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["sunset_app"]

_DAYS: Final = 30
"""How long the order for a decision can be handed in."""

sunset_app = typer.Typer(
    no_args_is_help=True, help="Look at the date on which everything is destroyed, and draft decisions about it."
)


class Decision(StrEnum):
    """What can be decided."""

    PRESERVE = "preserve"
    DESTROY = "destroy"
    PARTIAL = "partial"


@sunset_app.command()
@described
def status(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the deadline, what would happen then as things stand, and until when that can be decided."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        seen = alarms_of(vault)
        with vault.catalogue.read() as tx:
            sunset = current_policy(tx).sunset
    deadline = seen.deadline
    if as_json:
        print_json({"deadline": asdict(deadline) if deadline else None, "attention": spoken_alarms(seen)})
        return
    if deadline is None or sunset is None:
        say("The policy in force has no sunset.")
        return
    left = number_of(deadline.days_left, "day")
    by = f"order {deadline.order_id}" if deadline.order_id else "the default; nobody has decided"
    facts(
        [
            ("review opens", sunset.review_opens),
            ("decisions until", f"the end of {deadline.decision_cut_off}"),
            ("deadline", f"the end of {deadline.day}, {when(deadline.ends_at)}; {left} left"),
            ("outcome", f"{deadline.outcome} ({by})"),
            ("latched", when(deadline.latched_at) if deadline.latched_at else "not yet"),
            ("forecast", f"{deadline.forecast.total_seconds() / 3600:.1f} hours to destroy everything"),
            ("cut-off at the latest", deadline.latest_cut_off),
        ]
    )
    for sentence in spoken_alarms(seen):
        note(sentence)


@sunset_app.command()
@described
def decide(
    *,
    decision: Annotated[Decision, typer.Argument(help="What is to become of the records.")],
    reason: Annotated[str, typer.Option(help="Why. It is published.")],
    legal_basis: Annotated[str, typer.Option(help="The law or act that allows it.")],
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Preserve, partial: until when it is kept; then old due dates count again."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="DATE..DATE", help="Partial: a filing period that is kept; may be repeated."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Print the order for a decision, for two of agency head, counsel and records authority to sign.

    It can be decided while everything is held; the effect waits. Until the cut-off a later decision replaces it.

    \b
    Examples:
      shredvault sunset decide preserve --until 2028-12-31 --reason "…" --legal-basis "…" > decision.json
      shredvault sunset decide partial --keep 2015-01-01..2015-06-30 --until 2028-12-31 --reason … --legal-basis …
    """  # noqa: D301
    action = Action.DESTROY_AT_SUNSET if decision is Decision.DESTROY else Action(decision.value)
    with open_vault(load_settings(home=home).home_folder) as vault:
        with vault.catalogue.read() as tx:
            policy = current_policy(tx)
        if policy.sunset is None:
            raise CommandError(ExitCode.NOT_FOUND, "The policy in force has no sunset.")
        scope: dict[str, Any] = {"deadline": policy.sunset.deadline.isoformat()}
        if until is not None:
            scope["until"] = until
        if keep is not None:
            scope["keep"] = [period.split("..") for period in keep]
        require_decision(policy.sunset, policy.zone, action, scope, vault.clock.now())
        drafted = draft(vault, action, scope, Terms(reason, legal_basis, _DAYS))
    typer.echo(drafted.encode(), nl=False)
