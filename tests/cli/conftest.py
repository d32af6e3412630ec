"""The command line as a caller sees it: arguments in; output, talk and exit status out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lightvec.cli import main


class Outcome(NamedTuple):
    """What a command left: its data, its talk, its exit status."""

    out: str
    err: str
    status: int


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``lightvec`` with these arguments in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(captured.out, captured.err, int(leaving.value.code or 0))

    return run


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module of models into the folder that commands run in; gives its name."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(body: str) -> str:
        name = f"models_{abs(hash((tmp_path, body)))}"
        header = "from peewee import *\nfrom lightvec.peewee import *\n"
        (tmp_path / f"{name}.py").write_text(header + body)
        return name

    return write
