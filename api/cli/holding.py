"""`shredvault hold`: protects records from every destruction. Sealed holds are in `api.cli.sealing`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vault.context import Vault
from vault.destruction.carrying_out import require_newest_keys
from vault.destruction.reclaim import reclaim
from vault.destruction.releasing import release_hold
from vault.holds import (
    HoldLine,
    Kind,
    NothingToHoldError,
    Placed,
    Scope,
    Terms,
    acknowledge_late,
    answer_for,
    attention,
    extend_hold,
    list_holds,
    place_hold,
    show_hold,
    widen_hold,
)
from vault.home import Home, open_vault
from vault.serving.fences import Node
from vault.status import destruction_record, find_destruction, write_destruction_record
from vault.wording import number_of

from .exits import CommandError, ExitCode, carrying_out
from .manual import described
from .renewing import renew_in_time
from .screen import facts, note, print_json, say, somebody, stepping, table, when
from .sealing import keygen, opened, unseal
from .settings import HomeOption, JsonOption, load_settings
from .typed import day_of, instant_of

__all__ = ["hold_app"]

LIST_BYTES_MAX: Final = 8 * 1024 * 1024
"""Size of a file with record ids, in characters; a hold's 100,000 records need less."""
_COLUMNS: Final = ("id", "kind", "authority", "docket", "state")

hold_app = typer.Typer(
    no_args_is_help=True,
    help="Protect records from every destruction: place, widen, extend, list and answer for holds.",
)
hold_app.command()(keygen)
hold_app.command()(unseal)

RecordIds = Annotated[list[str] | None, typer.Argument(metavar="RECORD_ID...", help="The records to protect.")]
IdsFile = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="Record ids, one a line; `-` is standard input, # a comment."),
]
Program = Annotated[bool, typer.Option("--program", help="Protect every record of the program.")]
FiledFrom = Annotated[str | None, typer.Option(metavar="DATE", help="Protect what was filed on this day or later.")]
FiledTo = Annotated[str | None, typer.Option(metavar="DATE", help="Protect what was filed on this day or before.")]
Centers = Annotated[
    list[str] | None, typer.Option("--center", metavar="LABEL", help="Protect what this center filed; repeatable.")
]
ExistingOnly = Annotated[bool, typer.Option("--existing-only", help="Leave out what is filed from now on.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who places it; it is kept with the hold.")]
HoldIdArgument = Annotated[str, typer.Argument(metavar="HOLD_ID", help="The hold, from `hold list`.")]


@hold_app.command()
@described
def place(
    *,
    kind: Annotated[Kind, typer.Option(help="On what ground.")],
    authority: Annotated[str, typer.Option(help="Who ordered it: a court, an office. No names of applicants.")],
    docket: Annotated[
        str, typer.Option(help="The case: letters, digits and . / : - only. It is kept in the clear; no names.")
    ],
    record_ids: RecordIds = None,
    file: IdsFile = None,
    program: Program = False,
    filed_from: FiledFrom = None,
    filed_to: FiledTo = None,
    center: Centers = None,
    existing_only: ExistingOnly = False,
    reason: Annotated[str | None, typer.Option(help="In a sentence, what it is about.")] = None,
    ordered: Annotated[str | None, typer.Option(metavar="TIME", help="When it was ordered, with its zone.")] = None,
    served: Annotated[str | None, typer.Option(metavar="TIME", help="When it was served.")] = None,
    effective: Annotated[str | None, typer.Option(metavar="TIME", help="Since when it counts.")] = None,
    review: Annotated[
        str | None, typer.Option(metavar="DATE", help="When it is looked at again; in 90 days at the latest.")
    ] = None,
    ends: Annotated[
        str | None, typer.Option(metavar="DATE", help="When it is to end. Nothing ends by itself: somebody is told.")
    ] = None,
    tail_days: Annotated[
        int | None, typer.Option(help="How long it protects after its release; by default what the policy says.")
    ] = None,
    tail_reason: Annotated[str | None, typer.Option(help="Why there is no tail, where there would be one.")] = None,
    sealed: Annotated[
        bool,
        typer.Option("--sealed", help="Seal authority, docket and reason to counsel; in no list, no count."),
    ] = False,
    by: By = "the command line",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Protect records from every destruction, from now on. The same authority and docket again add to the same hold.

    Name records, or a time of filing, centers, or the whole program. Every id is answered: held, unknown, or when and
    by which destruction it died. Exit code 0: all are held. 12: some could not be held, the others are. 3: none could;
    no hold was placed.

    Where it covers what is filed later, a master key that was to end with the deadline of a sunset is replaced at once.

    \b
    Examples:
      shredvault hold place --program --kind court-order --authority "Supreme Court" --docket 80308/16
      shredvault hold place 4n8m2k6q0w1x3z5v7t9r2p4m6k --kind audit --authority Comptroller --docket A-17
      shredvault hold place --file ids.txt --kind fraud-case --authority "District Attorney" --docket 16-cr-100
    """  # noqa: D301
    terms = Terms(
        kind,
        authority,
        docket,
        reason,
        ordered_at=instant_of(ordered),
        served_at=instant_of(served),
        effective_at=instant_of(effective),
        review_on=day_of(review),
        ends_on=day_of(ends),
        tail_days=tail_days,
        tail_reason=tail_reason,
        sealed=sealed,
    )
    scope = _scope(record_ids, file, center, program, filed_from, filed_to, existing_only)
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        try:
            placed = place_hold(vault, terms, scope, by)
        except NothingToHoldError as nothing:
            _answer(None, nothing.answers, as_json=as_json)
            raise
        renew_in_time(vault, where, f"hold {placed.hold_id}")
    _report(placed, as_json=as_json)


@hold_app.command()
@described
def widen(
    *,
    hold_id: HoldIdArgument,
    record_ids: RecordIds = None,
    file: IdsFile = None,
    program: Program = False,
    filed_from: FiledFrom = None,
    filed_to: FiledTo = None,
    center: Centers = None,
    existing_only: ExistingOnly = False,
    by: By = "the command line",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a hold protect more, from now on. Answers and exit codes are those of `hold place`."""
    scope = _scope(record_ids, file, center, program, filed_from, filed_to, existing_only)
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        try:
            placed = widen_hold(vault, hold_id, scope, by)
        except NothingToHoldError as nothing:
            _answer(None, nothing.answers, as_json=as_json)
            raise
        renew_in_time(vault, where, f"hold {placed.hold_id}")
    _report(placed, as_json=as_json)


@hold_app.command()
@described
def extend(
    *,
    hold_id: HoldIdArgument,
    review: Annotated[str | None, typer.Option(metavar="DATE", help="The next review, also an earlier one.")] = None,
    ends: Annotated[str | None, typer.Option(metavar="DATE", help="A later end.")] = None,
    by: By = "the command line",
    home: HomeOption = None,
) -> None:
    """Put off the end of a hold, or set the day of its next review. An earlier end takes an order of two people."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        extend_hold(vault, hold_id, by, review_on=day_of(review), ends_on=day_of(ends))
    say("The hold is extended.")


@hold_app.command()
@described
def answer(
    *, record_ids: RecordIds = None, file: IdsFile = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Say of each record id: held, in the vault, unknown, or when and by which destruction it died."""
    scope = _scope(record_ids, file, None)
    with open_vault(load_settings(home=home).home_folder) as vault:
        _answer(None, answer_for(vault, scope.record_ids), as_json=as_json)


@hold_app.command()
@described
def acknowledge(
    *,
    entry: Annotated[int, typer.Argument(metavar="NUMBER", help="The ledger's entry, from `status`.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who has told counsel, or is counsel.")],
    home: HomeOption = None,
) -> None:
    """Write down that counsel knows of a hold that came after records were condemned. Its alarm ends with that.

    \b
    Example:
      shredvault hold acknowledge 4711 --by "Carl Iverson, counsel"
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        acknowledge_late(vault, entry, by)
    say("It is written down.")


@hold_app.command()
@described
def release(
    *,
    hold_id: HoldIdArgument,
    order: Annotated[str, typer.Option(metavar="ORDER_ID", help="The order to change it, accepted and cooled off.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out an order to release, narrow or shorten a hold. Its records fall under their old due dates again.

    Where the hold has a tail, it protects until that is over; the sweep of that night ends it. The copies of the
    records' keys that the hold made are destroyed with their master key, so that they cannot open the records after
    those are destroyed. No record is destroyed by this command.
    """
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault, Node(vault):
        require_newest_keys(vault)
        with carrying_out(), stepping() as step:
            released = release_hold(vault, hold_id, order, step)
        reclaim(vault)
        done = [find_destruction(vault, one.id) for one in released.destructions]
        paths = [write_destruction_record(where.destructions, one) for one in done]
    if as_json:
        records = [{**destruction_record(one), "path": path} for one, path in zip(done, paths, strict=True)]
        print_json({"hold": hold_id, "ends_at": released.ends_at, "destructions": records})
        return
    if released.ends_at is None:
        say("The end of the hold is earlier now; nothing ends by itself on that day.")
    elif not done:
        say(f"The hold protects what the order lets go until {when(released.ends_at)}; the sweep after that ends it.")
    for one, path in zip(done, paths, strict=True):
        copies = number_of(one.condemned or 0, "key copy", "is", "are")
        say(f"The order is carried out. {copies} destroyed; no record is.")
        say(f"Written down in {path}")


@hold_app.command("list")
@described
def list_all(
    *,
    home: HomeOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Released holds too.")] = False,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Counsel's private key: shows sealed holds too, opened.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the holds in force, oldest first. Sealed holds are listed for whoever has counsel's key."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        lines = _lines(vault, key, everything=everything)
        # What is to be said of sealed holds is said to counsel alone (H11).
        said = [] if key is None else attention(vault, for_counsel=True)
    for sentence in said:
        note(sentence)
    if as_json:
        print_json(lines)
    elif lines:
        rows = [(*(h[name] for name in _COLUMNS), _protects(h), h["review_on"], h["ends_on"] or "-") for h in lines]
        table((*_COLUMNS, "protects", "review", "ends"), rows)
    else:
        say("There are no holds." if everything else "There are no holds in force.")


@hold_app.command()
@described
def show(*, hold_id: HoldIdArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show all that is known of a hold, and how many living records it protects."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        line, matched = show_hold(vault, hold_id)
    shown = {**_plain(line), "protects": matched}
    if as_json:
        print_json(shown)
        return
    # How many are named by id; with rules it protects others as well.
    shown["named by id"] = shown.pop("records")
    shown |= {name: when(value) for name, value in asdict(line).items() if isinstance(value, datetime)}
    told = {name: value for name, value in shown.items() if name not in {"scopes", "sealed"}}
    facts((name.replace("_", " "), "-" if value is None else value) for name, value in told.items())
    for scope in line.scopes:
        say(f"  scope {scope.number}: {_spoken(asdict(scope))}")


def _lines(vault: Vault, key: Path | None, *, everything: bool) -> list[dict[str, Any]]:
    if key is None:
        return [_plain(line) for line in list_holds(vault, all_of_them=everything)]
    lines = list_holds(vault, all_of_them=everything, for_counsel=True)
    return [_plain(line) | opened(vault, line, key) for line in lines]


def _plain(line: HoldLine) -> dict[str, Any]:
    shown = {name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(line).items()}
    scopes = [{n: v.isoformat() if isinstance(v, date) else v for n, v in asdict(one).items()} for one in line.scopes]
    return {**shown, "sealed": line.sealed is not None, "scopes": scopes}


def _protects(hold: Mapping[str, Any]) -> str:
    parts = [number_of(hold["records"], "record")] if hold["records"] or not hold["scopes"] else []
    return "; ".join([*parts, *(_spoken(scope) for scope in hold["scopes"])])


def _spoken(scope: Mapping[str, Any]) -> str:
    words = [f"filed from {scope['filed_from']}"] if scope["filed_from"] else []
    words += [f"filed to {scope['filed_to']}"] if scope["filed_to"] else []
    words += [f"by {scope['center']}"] if scope["center"] else []
    words = words or ["the whole program"]
    return ", ".join(words if scope["includes_future"] else [*words, "existing records only"])


def _report(placed: Placed, *, as_json: bool) -> None:
    _answer(placed, placed.answers, as_json=as_json)
    if not placed.keys_copied:
        note(
            "The hold is in force. Second copies of its records' keys could not be made now: the custodian does not "
            "answer, or somebody changes the keys. `shredvault recover` makes them; tell the operator."
        )
    missed = sum(answer != "held" for answer in placed.answers.values())
    if missed:
        note(f"{missed} of {number_of(len(placed.answers), 'record')} could not be held; the others are held.")
        raise typer.Exit(ExitCode.PARTLY)


def _answer(placed: Placed | None, answers: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"hold": placed and placed.hold_id, "protects": placed and placed.matched, "answers": answers})
        return
    if answers:
        table(("record", "answer"), answers.items())
    if placed:
        say(f"Hold {placed.hold_id} protects {number_of(placed.matched, 'record')}.")


def _scope(
    record_ids: list[str] | None,
    file: str | None,
    centers: list[str] | None,
    program: bool = False,  # noqa: FBT001, FBT002  # options, handed on
    filed_from: str | None = None,
    filed_to: str | None = None,
    existing_only: bool = False,  # noqa: FBT001, FBT002
) -> Scope:
    wanted = (*(record_ids or ()), *(_read_ids(file) if file else ()))
    scope = Scope(wanted, program, day_of(filed_from), day_of(filed_to), tuple(centers or ()), not existing_only)
    if not (scope.record_ids or scope.has_rule):
        raise CommandError(ExitCode.USAGE, "Name at least one record, or give --file, a rule, or --program.")
    return scope


def _read_ids(name: str) -> list[str]:
    try:
        if name == "-":
            text = sys.stdin.read(LIST_BYTES_MAX + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(LIST_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as unreadable:
        raise CommandError(ExitCode.USAGE, f"The list of records cannot be read: {name}.") from unreadable
    if len(text) > LIST_BYTES_MAX:
        raise CommandError(ExitCode.USAGE, "The list of records is longer than 8 MiB; is it the right file?")
    return [found for line in text.splitlines() if (found := line.partition("#")[0].strip())]
