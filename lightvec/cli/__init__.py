"""The command-line interface. Each command is a module that wraps a library call.

Data goes to stdout, messages to stderr; the exit status is 0, 1 for a failure, 2 for wrong usage.

- ``commands``: the group, which loads a command's module when it runs. ``options``, ``imports``,
  ``output``, ``streams``, ``errors``: shared by the commands.
- ``load``: the command; ``loading``: a file into a table; ``files``: formats and text files;
  ``vector_files`` and ``arrow_files``: binary ones; ``column_texts``: values as texts.
- ``init_db``, ``diff``, ``create_index``, ``fill``, ``switch``, ``search``, ``doctor``, ``recall``,
  ``tune`` and ``server``: commands.
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
