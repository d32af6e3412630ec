"""The command line: one noun a file, each thin over a library call.

Data goes to stdout, talk to stderr. Exit status 0, 1 when it failed, 2 for a call that cannot be right; an error is
one line that says what to do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        # Here, so that Ctrl-C while modules load is no traceback.
        from lightvec.cli.commands import run

        status = run(args)
    except KeyboardInterrupt:
        sys.stderr.write("lightvec: interrupted\n")
        status = 1
    sys.exit(status)
