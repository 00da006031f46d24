"""Rooms: which part of fairdraft may import which, as import-linter contracts and as a table.

Each contract of type "room" in pyproject.toml is a row of the table in docs/architecture.md.

    python -m scripts.rooms     rewrite the table
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from importlinter import Contract, ContractCheck, fields, output

from scripts.markdown import ROOT, between

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: made by `make tables` -->", "<!-- end of rooms -->"
PACKAGE = "fairdraft"
EVERYTHING = "everything"


@dataclass(frozen=True)
class Room:
    """A row of the table.

    Args:
        modules: packages and modules in it, without "fairdraft."; "" is the package itself.
        says: what is in it.
        may_import: other rooms' modules, likewise; or `EVERYTHING`.
    """

    modules: tuple[str, ...]
    says: str
    may_import: tuple[str, ...]

    @property
    def row(self) -> str:
        """The row of the table, in Markdown."""
        names = ", ".join(f"`{_shown(name)}`" for name in self.modules)
        return f"| {names} | {self.says} | {', '.join(self.may_import) or 'nothing'} |"


def _shown(name: str) -> str:
    folder = ROOT / PACKAGE / Path(*name.split("."))
    return name.replace(".", "/") + ("/" if folder.is_dir() else ".py")


def rooms() -> list[Room]:
    """Return the rooms that pyproject.toml has contracts for, in its order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return [
        Room(tuple(each["modules"]), each["says"], tuple(each["may_import"]))
        for each in project["tool"]["importlinter"]["contracts"]
        if each["type"] == "room"
    ]


def room_of(module: str, every: list[Room]) -> Room | None:
    """Return the room of a module (without "fairdraft."): that of its longest known beginning."""
    known = [(name, room) for room in every for name in room.modules if _within(module, name)]
    return max(known, key=lambda each: len(each[0]), default=(None, None))[1]


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


class RoomContract(Contract):
    """A room imports itself, what its row says, and packages that are not fairdraft's."""

    modules = fields.ListField(subfield=fields.StringField())
    says = fields.StringField()
    may_import = fields.ListField(subfield=fields.StringField())

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Look at every direct import of the room's modules."""
        every = rooms()
        modules = cast(list[str], self.modules)  # a field's value takes the field's place
        mine = next(room for room in every if list(room.modules) == modules)
        broken = []
        for importer in sorted(graph.modules):
            if room_of(_short(importer), every) is not mine or not _ours(importer):
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if _ours(imported) and not self._allowed(_short(imported), mine, every):
                    broken.append((importer, imported))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def _allowed(self, module: str, mine: Room, every: list[Room]) -> bool:
        theirs = room_of(module, every)
        return (
            theirs is mine
            or EVERYTHING in mine.may_import
            or (theirs is not None and any(_within(module, name) for name in mine.may_import))
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the imports that the row does not allow."""
        for importer, imported in check.metadata["broken"]:
            output.print_error(f"{importer} imports {imported}")


def _ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(PACKAGE + ".")


def _short(module: str) -> str:
    return module.removeprefix(PACKAGE).removeprefix(".")


def table() -> str:
    """Return the table of rooms, in Markdown."""
    rows = ["| room | what | may import |", "|---|---|---|", *(room.row for room in rooms())]
    return "\n".join(rows)


def page(text: str) -> str:
    """Return a page with the table between its two marks made anew."""
    return between(text, BEGIN, END, table())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"Written to {PAGE.relative_to(ROOT)}\n")
