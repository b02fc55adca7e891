"""The command line: all commands together, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import errno
import gc
import signal
import sys
from types import FrameType
from typing import Annotated, Final

import typer

from vault.host.hardening import harden
from vault.software import software_version

from .certificates import certificate_app
from .custodians import custodian_app
from .demo import demo
from .destroying import destroy, destruction_app, scrub, sweep
from .exits import KNOWN_ERRORS, CommandError, ExitCode, code_of, manual
from .founding import init
from .glance import status
from .holding import hold_app
from .ledger import ledger_app
from .manual import unfolded
from .orders import draft_app, order_app
from .policies import policy_app
from .rebuilding import rebuild_command
from .receipts import receipt_app
from .recovering import recover
from .rehearsal import rehearse
from .releases import release_draft
from .screen import note
from .serving import serve
from .sunsetting import sunset_app
from .timing import time_app
from .tokens import access_app

__all__ = ["main"]

_MANUAL: Final = f"""
Keep scanned identity documents, and destroy them so that nobody can bring them back: not from a backup, not
with every password and key that is left.

Every record is sealed under a key of its own. Destroying records means destroying the one master key above
them and carrying everybody else's keys over to a new one. Copies of the data may lie anywhere; without that
key they stay closed.

\b
A first vault:
  shredvault policy draft --out policy.json --with people.json \\
      --allowed-signers signers
  shredvault init --policy policy.json \\
      --approval ada.sig --approval carl.sig --approval rita.sig
  shredvault access create --role center --label "Queens center"
  shredvault serve
Every night:
  shredvault sweep
Before a judge asks:
  shredvault hold place --program --kind court-order \\
      --authority "Supreme Court" --docket 16-cv-100
See the whole story in a minute, or rehearse the end of a program:
  shredvault demo
  shredvault rehearse

All commands work while `serve` runs. Options can also be given as variables (SHREDVAULT_HOME and so on);
an option counts more than a variable. Commands that print data take --json.

\b
Exit codes:
{manual()}
"""

_DAILY: Final = "Every day"
_KEEPING: Final = "Keeping and destroying"
_AFTER: Final = "When something went wrong, and to learn"

app = typer.Typer(
    name="shredvault",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:  # noqa: FBT001  # typer hands it over by position
    if asked:
        typer.echo(f"Shredvault {software_version()}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which version this is.")
]


@app.callback(help=unfolded(_MANUAL))
def _top(*, version: Version = False) -> None:
    """Take what stands before the command."""


app.command(rich_help_panel=_DAILY)(init)
app.command(rich_help_panel=_DAILY)(serve)
app.command(rich_help_panel=_DAILY)(status)
app.add_typer(access_app, name="access", rich_help_panel=_DAILY)
app.command(rich_help_panel=_KEEPING)(sweep)
app.add_typer(hold_app, name="hold", rich_help_panel=_KEEPING)
draft_app.command("release")(release_draft)
app.add_typer(order_app, name="order", rich_help_panel=_KEEPING)
app.command(rich_help_panel=_KEEPING)(scrub)
app.command(rich_help_panel=_KEEPING)(destroy)
app.add_typer(sunset_app, name="sunset", rich_help_panel=_KEEPING)
app.add_typer(destruction_app, name="destruction", rich_help_panel=_KEEPING)
app.add_typer(policy_app, name="policy", rich_help_panel=_KEEPING)
app.add_typer(certificate_app, name="certificate", rich_help_panel=_KEEPING)
app.add_typer(receipt_app, name="receipt", rich_help_panel=_KEEPING)
app.add_typer(custodian_app, name="custodian", rich_help_panel=_KEEPING)
app.add_typer(ledger_app, name="ledger", rich_help_panel=_KEEPING)
app.command(rich_help_panel=_AFTER)(recover)
app.add_typer(time_app, name="time", rich_help_panel=_AFTER)
app.command("rebuild", rich_help_panel=_AFTER)(rebuild_command)
app.command(rich_help_panel=_AFTER)(demo)
app.command(rich_help_panel=_AFTER)(rehearse)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main() -> None:
    """Run the command line; ends the process with one of the exit codes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    harden()
    # What has been imported stays. Looking through it for garbage, when the process ends above all, takes longer
    # than most commands do.
    gc.freeze()
    sys.exit(_run())


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """Being asked to end is like Ctrl-C: everything that was begun is put in order first."""
    raise KeyboardInterrupt


def _run() -> int:
    try:
        return int(app(prog_name="shredvault", standalone_mode=False) or ExitCode.DONE)
    except CommandError as refused:
        note(str(refused))
        return refused.code
    except KNOWN_ERRORS as known:
        note(str(known))
        return code_of(known)
    except (typer.Abort, KeyboardInterrupt):
        # Typer makes the one of the other, but not while it still builds the command line.
        note("Interrupted.")
        return ExitCode.INTERRUPTED
    except typer.TyperException as usage:
        if text := usage.format_message():
            # pydantic, which checks a list of words, puts its own name for the fault before the sentence.
            sentence = text.removesuffix(".").replace(": Value error, ", ": ")
            end = "" if sentence.endswith("?") else "."
            note(f"{sentence}{end} `shredvault --help` is the manual.")
        return ExitCode.USAGE
    except OSError as error:
        note(f"{error.strerror or 'The system refused'}: {error.filename or 'a file or connection'}.")
        return ExitCode.DISK_FULL if error.errno in _FULL else ExitCode.NO_VAULT
