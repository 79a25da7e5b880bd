"""The commands of this room, for the command line: what each takes, and what runs it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from . import check_cli, cli

Command = tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]

COMMANDS: dict[str, Command] = {
    "export": (cli.add_export_arguments, cli.export),
    "check": (check_cli.add_check_arguments, check_cli.check_file),
    "manifest": (cli.add_manifest_arguments, cli.manifest_add),
}
