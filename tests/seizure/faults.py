"""Deliberate faults in the processes of a served vault, named by SEIZURE_FAULTS, each with the judge that finds it."""

import logging
import tempfile
from collections.abc import Callable
from typing import Any, Final

from vault.records import uploads
from vault.serving.fences import Node

FAULTS: Final = "SEIZURE_FAULTS"
Fault = Callable[[Callable[[Any, str, Any], object]], None]
SERVED_MUTANTS: dict[str, tuple[str, Fault]] = {}


def caught_by(judge: str) -> Callable[[Fault], Fault]:
    """Note a fault, under its name in plain words."""

    def note(fault: Fault) -> Fault:
        SERVED_MUTANTS[fault.__name__.replace("_", " ")] = judge, fault
        return fault

    return note


@caught_by("memory")
def a_worker_confirms_and_stays(put: Callable[[Any, str, Any], object]) -> None:
    """It lets go of the condemned, as a command does, and does not end: its memory is not given back."""
    make = Node.__init__

    def staying(self: Node, vault: Any, on_new_epoch: Any = None) -> None:
        make(self, vault, None)

    put(Node, "__init__", staying)


@caught_by("places")
def a_worker_spools_a_body(put: Callable[[Any, str, Any], object]) -> None:
    """What comes in stands in a temporary file for a moment."""
    add = uploads.Upload.add

    def spooled(self: uploads.Upload, chunk: bytes) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(chunk)
            file.flush()
            add(self, chunk)

    put(uploads.Upload, "add", spooled)


@caught_by("bytes")
def a_worker_logs_a_file_name(put: Callable[[Any, str, Any], object]) -> None:
    """At the lowest level, where nobody looks."""
    finish = uploads.Upload.finish

    def logged(self: uploads.Upload) -> uploads.Filed:
        logging.getLogger("vault").debug("filed %s", self._name)
        return finish(self)

    put(uploads.Upload, "finish", logged)


def switch_on(names: str, put: Callable[[Any, str, Any], object]) -> None:
    """Switch on what an environment variable names, separated by commas."""
    for name in filter(None, names.split(",")):
        SERVED_MUTANTS[name][1](put)
