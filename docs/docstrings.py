"""An extension of griffe: the docstrings' reStructuredText as Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Attribute, Docstring, Extension, Object

__all__ = ["Docstrings", "to_markdown"]

_ROLE = re.compile(r":(?:class|func|meth|attr|data|exc|mod):`(~?)([\w.]+)`")


class Docstrings(Extension):
    """Converts each docstring, and takes ``#:`` comments as those of constants."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Give a module's constant the comment above it, else its source, as the docstring."""
        if attr.docstring is not None or attr.parent is None or not attr.parent.is_module:
            return
        if attr.lineno is not None and isinstance(attr.filepath, Path):
            lines = attr.lines_collection[attr.filepath]
            comment: list[str] = []
            for line in reversed(lines[: attr.lineno - 1]):
                if not line.startswith("#:"):
                    break
                comment.insert(0, line.removeprefix("#:").strip())
            attr.docstring = Docstring(" ".join(comment) or f"`{lines[attr.lineno - 1]}`", parent=attr)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Doctests and tables become fenced blocks, roles become links, and ``::`` a colon.

    >>> to_markdown("See below::")
    'See below:'
    """
    paragraphs = [_paragraph(paragraph) for paragraph in text.split("\n\n")]
    return "\n\n".join(filter(None, paragraphs))


def _paragraph(text: str) -> str:
    if text.startswith((">>> ", "====")):
        return f"```{'pycon' if text[0] == '>' else 'text'}\n{text}\n```"
    if text.startswith("    "):
        return text
    return re.sub(r":?:$", ":", _ROLE.sub(_link, text)).removeprefix(":")


def _link(found: re.Match[str]) -> str:
    name = found[2]
    shown = name.rpartition(".")[2] if found[1] else name
    # Optional: private modules and other libraries are not in the reference.
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'
