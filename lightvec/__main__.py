"""``python -m lightvec`` is the command line."""

from __future__ import annotations

from lightvec.cli import main

main()
