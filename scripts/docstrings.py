"""Docstrings and signatures on the docs site: a Sphinx extension that `scripts.docs_site` loads.

Docstrings are written in a plain dialect: `code` in single backticks, examples indented, sections
as Google has them. They are turned into what Sphinx reads, before napoleon sees them.
"""

from __future__ import annotations

import re
from typing import Any

SECTIONS = {"Args:", "Attributes:", "Raises:", "Returns:", "Yields:"}


def restructured(lines: list[str]) -> list[str]:
    """Return a docstring in reStructuredText.

    Text in single backticks becomes a literal, an indented paragraph before the first section
    ("Args:", …) a block of code, and characters that mean something to reStructuredText do not.

    Args:
        lines: of the docstring, without its own indentation.
    """
    found: list[str] = []
    prose: list[str] = []
    in_code = in_section = False

    def flush() -> None:
        found.extend(_escaped("\n".join(prose)).split("\n") if prose else [])
        prose.clear()

    for i, line in enumerate(lines):
        in_section = in_section or line in SECTIONS
        indented = line.startswith("    ") and not in_section
        if in_code and line and not indented:
            in_code = False
            found.append("")
        elif not in_code and indented and (i == 0 or not lines[i - 1]):
            flush()
            found.extend(["::", ""])
            in_code = True
        if in_code:
            found.append(line)
        else:
            prose.append(line)
    flush()
    return found


def _escaped(text: str) -> str:
    parts = re.split(r"(`+[^`]+`+)", text)
    for i, part in enumerate(parts):
        if i % 2:
            inner = part.strip("`")
            behind = parts[i + 1][:1]
            parts[i] = f"``{inner}``" + ("\\ " if behind.isalnum() else "")
        else:
            part = re.sub(r"([\\*|])", r"\\\1", part)
            parts[i] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)
    return "".join(parts)


def _on_docstring(
    app: Any, what: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = restructured(lines)


def _on_signature(
    app: Any, what: str, name: str, found: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """Leave the limits out of a config's signature: docs/reference/config.md has them all.

    Of a class whose `__new__` takes anything, the signature is its `__init__`'s.
    """
    if hasattr(found, "__pydantic_fields__"):
        return "(**keys)", ""
    if what == "class" and (signature or "").startswith("(*args"):
        from sphinx.util.inspect import signature as read
        from sphinx.util.inspect import stringify_signature

        taken = read(found.__init__, bound_method=True)
        return stringify_signature(taken, unqualified_typehints=True), ""
    return None


def setup(app: Any) -> dict[str, Any]:
    """Connect everything to Sphinx."""
    app.connect("autodoc-process-docstring", _on_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _on_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
