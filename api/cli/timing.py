"""`shredvault time`: what the vault holds of the clocks, and how a suspicion is cleared (T5)."""

from __future__ import annotations

from typing import Annotated

import typer

from vault.clocks.trusted_time import Trusted
from vault.destruction.drafting import Terms, draft
from vault.home import open_vault
from vault.orders import Action
from vault.orders.order import spell_instant
from vault.timekeeping import clear_time, observe_time, time_state
from vault.wording import number_of

from .exits import CommandError, ExitCode
from .manual import described
from .screen import facts, print_json, say, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = ["time_app"]

time_app = typer.Typer(no_args_is_help=True, help="Look at the clocks, and trust them again after they were suspect.")


@time_app.command()
@described
def show(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Compare the clocks now, and say whether time is trusted. Exit code 11 when it is not.

    While time is suspect nothing is destroyed. Filing goes on.
    """
    with open_vault(load_settings(home=home).home_folder) as vault:
        judged = observe_time(vault)
        now = vault.clock.now()
        with vault.catalogue.read() as tx:
            state = time_state(tx)
    since = spell_instant(state.suspect_since) if state.suspect_since else None
    if as_json:
        report = {"now": now, "suspect_since": since, "why": state.why, "filed_meanwhile": state.filed_meanwhile}
        print_json(report)
    else:
        pairs: list[tuple[str, object]] = [("system clock", when(now))]
        if since:
            pairs += [("time", "SUSPECT: nothing is destroyed"), ("suspect since", since), ("because", state.why)]
            pairs += [("to clear it", "`shredvault time order`, signed by records officer and auditor")]
        else:
            pairs.append(("time", "trusted"))
        facts([*pairs, ("filed in suspect time", f"{number_of(state.filed_meanwhile, 'record')}, ever")])
    if not isinstance(judged, Trusted):
        raise typer.Exit(ExitCode.ATTENTION)


@time_app.command()
@described
def order(
    *,
    reason: Annotated[str, typer.Option(help="How the clocks were checked, in a sentence or two.")],
    legal_basis: Annotated[str, typer.Option(help="The rule under which they were.")],
    days: Annotated[int, typer.Option(min=1, max=90, help="How long the order can be carried out.")] = 7,
    home: HomeOption = None,
) -> None:
    """Print the order that clears the present suspicion, for records officer and auditor to sign.

    Set the clocks right first, and find out why they were wrong.

    \b
    Example:
      shredvault time order --reason "Checked against two other servers." --legal-basis "Schedule 12" > clear.json
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        with vault.catalogue.read() as tx:
            since = time_state(tx).suspect_since
        if since is None:
            raise CommandError(ExitCode.NOT_FOUND, "Time is trusted; there is nothing to clear.")
        drafted = draft(
            vault, Action.CLEAR_TIME, {"suspect_since": spell_instant(since)}, Terms(reason, legal_basis, days)
        )
    typer.echo(drafted.encode(), nl=False)


@time_app.command()
@described
def clear(
    *,
    order_id: Annotated[str, typer.Argument(metavar="ORDER_ID", help="The order, once it was handed in.")],
    home: HomeOption = None,
) -> None:
    """Trust the clocks again, under an accepted order of records officer and auditor. The clocks must agree by now."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        trusted = clear_time(vault, order_id)
    say(f"Time is trusted again: {when(trusted.now)}. Records that have fallen due are swept with the next sweep.")
