"""Every command there is, as it is typed."""

from collections.abc import Iterator

import typer


def commands(of: typer.Typer, before: str = "") -> Iterator[str]:
    for command in of.registered_commands:
        assert command.callback is not None
        yield before + (command.name or command.callback.__name__.replace("_", "-"))
    for group in of.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{before}{group.name} ")
