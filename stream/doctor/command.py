"""The commands `saliency-tubes doctor`."""

from __future__ import annotations

import argparse
import shutil
import sys

from .examine import examine
from .finding import works
from .here import this_system
from .report import as_json, as_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("--model", default="i3d", help="model file or plan that a run would use (default: i3d)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Prints the findings. Returns 0 if videos can be explained here, 1 if something that this needs is broken."""
    system = this_system(args.model)
    sections = examine(system)
    if args.json:
        print(as_json(sections, system.version))
    else:
        columns = shutil.get_terminal_size((100, 24)).columns
        print(as_text(sections, f"saliency-tubes {system.version}", columns, sys.stdout.isatty()), end="")
    return 0 if works(sections) else 1
