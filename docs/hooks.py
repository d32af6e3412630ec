"""Hooks of MkDocs: a public name that the reference lacks fails the build."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_ROOT = Path(__file__).parents[1]


def on_post_build(config: Any, **_: Any) -> None:
    """Compare the anchors of the reference with the ``__all__`` of each module on its pages."""
    missing = []
    for page in (_ROOT / "docs" / "reference").glob("*.md"):
        html = Path(config["site_dir"], "reference", page.stem, "index.html")
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("::: "):
                text = html.read_text(encoding="utf-8")
                names = _public_names(line.removeprefix("::: "))
                missing += [name for name in names if f'id="{name}"' not in text]
    if missing:
        raise PluginError(f"expected these public names in the reference: {', '.join(missing)}")


def _public_names(module: str) -> list[str]:
    """The names in ``__all__``, without modules, which have a place of their own, and names of other libraries."""
    path = _ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: list[str] = []
    elsewhere = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("lightvec."):
            elsewhere |= {alias.asname or alias.name for alias in node.names}
    if not names:
        raise PluginError(f"expected __all__ in {file}")
    return [f"{module}.{name}" for name in names if name not in elsewhere and not name.startswith("__")]
