"""The command line: a file for each command, thin over library calls.

Data goes to stdout, messages to stderr; the exit status is 0, 1 for a failure, 2 for wrong usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    if sys.stderr is None:
        # The next file that is opened, a socket too, would get the number of the closed descriptor.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    try:
        # Here, so that Ctrl-C while modules load is no traceback.
        from lightvec.cli.commands import run

        status = run(args)
    except KeyboardInterrupt:
        sys.stderr.write("lightvec: interrupted\n")
        status = 1
    sys.exit(status)
