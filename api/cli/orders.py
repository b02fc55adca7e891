"""`shredvault order`: what people sign before anything is destroyed, released or decided.

`sign` needs no vault, and only wraps ssh-keygen: whoever signs may do it on a machine of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from vault.alarms import alarms_of
from vault.canonical import DOCUMENT_LIMIT_BYTES, decode
from vault.context import Vault
from vault.destruction.drafting import Drafted, Terms, draft_destroy, draft_scrub
from vault.home import Home, open_vault
from vault.ids import OrderId
from vault.law.policy import POLICY_FORMAT
from vault.orders.accepting import Accepted, accept_order, list_orders, load_order, withdraw_order
from vault.orders.actions import Action
from vault.orders.checking import Check, check_order, describe
from vault.orders.order import ORDER_FORMAT, Order, spell_instant
from vault.orders.signatures import ORDERS, POLICIES, sign_file
from vault.serving.fences import Node

from .exits import CommandError, ExitCode, at_named_path
from .manual import described
from .renewing import renew_in_time
from .screen import facts, note, print_json, say, somebody, table, when
from .settings import HomeOption, JsonOption, load_settings

__all__ = [
    "CoolingOff",
    "Days",
    "LegalBasis",
    "Out",
    "Reason",
    "Signatures",
    "draft_app",
    "order_app",
    "read_file",
    "read_signatures",
    "tell_draft",
    "write_document",
]

_NAMESPACES: Final = {ORDER_FORMAT: ORDERS, POLICY_FORMAT: POLICIES}

order_app = typer.Typer(no_args_is_help=True, help="Orders that people sign: draft, sign, check and submit them.")
draft_app = typer.Typer(no_args_is_help=True, help="Write an order to be signed. It gives no authority by itself.")
order_app.add_typer(draft_app, name="draft")

Reason = Annotated[str, typer.Option(help="Why, in a sentence. It is kept in the ledger; no names of applicants.")]
LegalBasis = Annotated[str, typer.Option(help="By which law, rule or ruling.")]
Days = Annotated[int, typer.Option(help="How many days it may be carried out, from now; a list is void after 14.")]
CoolingOff = Annotated[
    int | None,
    typer.Option(metavar="HOURS", help="How long it waits once accepted. [dim]Default: what the policy says.[/dim]"),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where to write it. [dim]Default order-….json, here.[/dim]")
]
Document = Annotated[Path, typer.Argument(metavar="ORDER", help="The order's file, as it was drafted.")]
Signatures = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SIGNATURE...", help="Signatures. [dim]Default: ORDER.sig and ORDER.*.sig beside it.[/dim]"),
]
OrderArgument = Annotated[str, typer.Argument(metavar="ID", help="The order, from `order list`.")]


@draft_app.command("scrub")
@described
def scrub_draft(
    *,
    reason: Reason,
    legal_basis: LegalBasis,
    days: Days = 14,
    cooling_off: CoolingOff = None,
    out: Out = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze the list of every record that no hold protects, and write the order to destroy it.

    \b
    Example:
      shredvault order draft scrub --reason "The program ends" --legal-basis "Local law 35 of 2015"
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        drafted = draft_scrub(vault, Terms(reason, legal_basis, days, cooling_off))
        tell_draft(vault, drafted.order, out, as_json=as_json, drafted=drafted)


@draft_app.command("destroy")
@described
def destroy_draft(
    *,
    record_ids: Annotated[list[str], typer.Argument(metavar="RECORD_ID...", help="The records to destroy.")],
    reason: Reason,
    legal_basis: LegalBasis,
    days: Days = 14,
    cooling_off: CoolingOff = None,
    out: Out = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the order to destroy named records: mis-scans, unlawful captures, accepted erasures.

    Each id is answered. Those that are held, destroyed or unknown are not on the list.

    \b
    Example:
      shredvault order draft destroy 4n8m2k6q0w1x3z5v7t9r2p4m6k --reason "Scanned twice" --legal-basis "Schedule 12"
    """  # noqa: D301
    with open_vault(load_settings(home=home).home_folder) as vault:
        drafted = draft_destroy(vault, record_ids, Terms(reason, legal_basis, days, cooling_off))
        tell_draft(vault, drafted.order, out, as_json=as_json, drafted=drafted)


def tell_draft(
    vault: Vault,
    order: Order,
    out: Path | None,
    *,
    as_json: bool,
    drafted: Drafted | None = None,
    handed_in_by: str = "order submit",
) -> None:
    """Write a drafted order into its file, and say what to do with it."""
    path = write_document(out or Path(f"order-{order.id[:8]}.json"), order.encode())
    answers = drafted.answers if drafted else {}
    not_listed = drafted.not_listed if drafted else {}
    checked = check_order(vault, order.encode(), ())
    if as_json:
        print_json(
            {"order": order.id, "file": path, "scope": order.scope, "answers": answers, "not_listed": not_listed}
        )
        return
    if answers:
        table(("record", "answer"), answers.items())
    _tell(checked)
    if not_listed:
        say("Not on the list: " + ", ".join(f"{count} {why}" for why, count in sorted(not_listed.items())) + ".")
    say(f"Written to {path}. Whoever signs it runs, on any machine with a copy of that file:")
    say(f"  ssh-keygen -Y sign -n {ORDERS} -f KEY {path.name}")
    say(f"and sends back {path.name}.sig. Then: shredvault {handed_in_by} {path} SIGNATURE...")


@order_app.command()
@described
def sign(
    *,
    document: Annotated[Path, typer.Argument(metavar="FILE", help="The order, or a policy to found a vault with.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Your private key, or the public one of a key on a token.")],
) -> None:
    """Sign an order, or a first policy, with your own key. Needs no vault: it runs ssh-keygen and nothing else.

    Read what you sign: the file says in plain JSON what is ordered, and why. The signature is written beside it.

    \b
    Example:
      shredvault order sign order-5t2c7v9q.json --key ~/.ssh/id_ed25519
    """  # noqa: D301
    content = decode(read_file(document))
    namespace = _NAMESPACES.get(str(content.get("format")))
    if namespace is None:
        raise CommandError(ExitCode.USAGE, f"{document} is neither an order nor a policy.")
    if content["format"] == ORDER_FORMAT:
        for sentence in describe(Order.decode(read_file(document))):
            note(sentence)
    say(f"Signed: {sign_file(document, key.expanduser(), namespace)}")


@order_app.command()
@described
def check(
    *,
    document: Document,
    signatures: Signatures = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in plain words what an order would do and what it still lacks; change nothing.

    Exit code 0: it would be accepted. 4: it would not, and why.
    """
    body = read_file(document)
    with open_vault(load_settings(home=home).home_folder) as vault:
        found = check_order(vault, body, read_signatures(document, signatures))
    if as_json:
        print_json({"order": found.order.id, "says": found.says, "signed": found.signed, "refusal": found.refusal})
    else:
        _tell(found)
    if found.refusal is not None:
        raise typer.Exit(ExitCode.REFUSED)


def _tell(found: Check) -> None:
    for sentence in found.says:
        say(sentence)
    if found.signed:
        say(f"Signed by {', '.join(found.signed)}.")
    say(found.refusal if found.refusal is not None else "It would be accepted.")


@order_app.command()
@described
def submit(
    *,
    document: Document,
    signatures: Signatures = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand in a signed order. It is verified, kept with its signatures, and put in the ledger.

    Nothing is carried out yet: the answer says from when on it may be, and with which command. But where a decision
    keeps what a master key was to take with it at the deadline, that key is replaced at once.

    \b
    Example:
      shredvault order submit order-5t2c7v9q.json ada.sig carl.sig rita.sig
    """  # noqa: D301
    body = read_file(document)
    where = Home.at(load_settings(home=home).home_folder)
    with open_vault(where.path, ask=somebody()) as vault:
        accepted = accept_order(vault, body, read_signatures(document, signatures))
        if alarms_of(vault).ends_wrongly is not None:
            with Node(vault):
                renew_in_time(vault, where, f"order {accepted.id}")
    if as_json:
        print_json(_facts(accepted))
        return
    say(f"Accepted: order {accepted.id}, approved by {', '.join(one.person for one in accepted.approvals)}.")
    say(f"It may be carried out from {when(accepted.effective_at)} to {when(accepted.order.expires)}.")
    if then := _then(accepted):
        say(f"Then: shredvault {then}")


@order_app.command("list")
@described
def list_all(*, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the orders that were handed in, oldest first."""
    with open_vault(load_settings(home=home).home_folder) as vault, vault.catalogue.read() as tx:
        found = list_orders(tx)
    if as_json:
        print_json([_facts(one) for one in found])
    elif found:
        rows = [(one.id, one.action, when(one.accepted_at), _state(one)) for one in found]
        table(("order", "action", "accepted", "state"), rows)
    else:
        say("No order was handed in yet.")


@order_app.command()
@described
def show(*, order_id: OrderArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one order: what it says, who approved it with which key, what became of it."""
    with open_vault(load_settings(home=home).home_folder) as vault, vault.catalogue.read() as tx:
        found = load_order(tx, order_id)
    if as_json:
        print_json({**_facts(found), "body": found.body.decode("utf-8")})
        return
    for sentence in describe(found.order):
        say(sentence)
    facts(
        [
            ("accepted", when(found.accepted_at)),
            ("may be carried out", f"{when(found.effective_at)} to {when(found.order.expires)}"),
            ("state", _state(found)),
            *(("approved by", f"{one.person} ({', '.join(one.roles)}), key {one.key}") for one in found.approvals),
        ]
    )


@order_app.command()
@described
def withdraw(
    *,
    order_id: OrderArgument,
    reason: Annotated[str, typer.Option(help="Why, in a sentence.")],
    home: HomeOption = None,
) -> None:
    """Take back an order that was not carried out. It stays in the ledger, and gives no authority any more."""
    with open_vault(load_settings(home=home).home_folder) as vault:
        withdraw_order(vault, OrderId(order_id), reason)
    say(f"Order {order_id} is void.")


def _then(one: Accepted) -> str | None:
    """The command that carries an order out; a decision about the sunset takes effect by itself."""
    match one.action:
        case Action.SCRUB | Action.DESTROY:
            return f"{one.action} {one.id}"
        case Action.RELEASE:
            return f"hold release {one.order.scope['hold']} --order {one.id}"
        case Action.CLEAR_TIME:
            return f"time clear {one.id}"
        case _:
            return None


def _state(one: Accepted) -> str:
    if one.used_at is not None:
        return f"carried out {when(one.used_at)}: {one.used_by}"
    if one.void_reason is not None:
        return f"void: {one.void_reason}"
    return f"open until {when(one.order.expires)}"


def _facts(one: Accepted) -> dict[str, object]:
    return {
        "order": one.id,
        "action": one.action,
        "scope": one.order.scope,
        "reason": one.order.reason,
        "legal_basis": one.order.legal_basis,
        "accepted_at": one.accepted_at,
        "effective_at": one.effective_at,
        "expires": spell_instant(one.order.expires),
        "policy_version": one.policy_version,
        "approvals": [{"person": a.person, "roles": a.roles, "key": a.key} for a in one.approvals],
        "used_at": one.used_at,
        "used_by": one.used_by,
        "void_reason": one.void_reason,
    }


# --- files --------------------------------------------------------------------------------------------


def read_file(path: Path) -> bytes:
    """The bytes of a document or a signature.

    Raises:
        CommandError: it cannot be read, or is longer than any document.
    """
    try:
        with path.expanduser().open("rb") as file:
            content = file.read(DOCUMENT_LIMIT_BYTES + 1)
    except OSError as unreadable:
        raise CommandError(ExitCode.USAGE, f"The file {path} cannot be read.") from unreadable
    if len(content) > DOCUMENT_LIMIT_BYTES:
        raise CommandError(ExitCode.USAGE, f"The file {path} is too long for an order; is it the right one?")
    return content


def read_signatures(document: Path, named: list[Path] | None) -> list[bytes]:
    """The signatures that were named, or those that lie beside the document."""
    beside = sorted({*document.parent.glob(f"{document.name}.sig"), *document.parent.glob(f"{document.name}.*.sig")})
    return [read_file(path) for path in named or beside]


def write_document(path: Path, document: bytes) -> Path:
    """Write a document into a file that is not there yet; signatures are over its exact bytes.

    Raises:
        CommandError: there is such a file, or no such folder.
    """
    with at_named_path():
        try:
            with path.expanduser().open("xb") as file:
                file.write(document)
        except FileExistsError as there:
            raise CommandError(ExitCode.USAGE, f"There is a file {path} already; choose another with --out.") from there
    return path
