"""Makes each incident happen to a real run, and prints as a table in Markdown what was told and how soon all was well.

.venv/bin/python tests/incidents/run.py                  all of them: a quarter of an hour
.venv/bin/python tests/incidents/run.py "camera killed"  some
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from incidents.incident import HEAD, Outcome, play, row
from incidents.scene import make_model
from incidents.table import INCIDENTS


def main() -> int:
    """Returns the exit code: 0, or 1 where something was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(INCIDENTS)} (default: all)")
    names = parser.parse_args().names or list(INCIDENTS)
    unknown = [name for name in names if name not in INCIDENTS]
    if unknown:
        parser.error(f"no incident is called {unknown[0]!r}; there are {', '.join(INCIDENTS)}")
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder))
        for name in names:
            outcome = play(INCIDENTS[name], model)
            outcomes.append(outcome)
            print(f"{name}: {'; '.join(outcome.problems) or outcome.skipped or 'as promised'}", file=sys.stderr)
    print(HEAD, *map(row, outcomes), sep="\n")
    return 1 if any(outcome.problems for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
