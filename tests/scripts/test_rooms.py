"""The rooms of docs/architecture.md: a contract each, no circles, nothing outside of them."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from scripts.rooms import EVERYTHING, PAGE, ROOT, RoomContract, page, room_of, rooms

MODULES = [
    ".".join(path.relative_to(ROOT / "fairdraft").with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "fairdraft").rglob("*.py"))
    if path != ROOT / "fairdraft" / "__init__.py"
]


def test_the_table_is_made_from_the_contracts() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text) == text, "run `make tables`"


def test_every_module_is_in_a_room_and_every_room_is_there() -> None:
    every = rooms()
    assert [module for module in MODULES if room_of(module, every) is None] == []
    named = [name for room in every for name in (*room.modules, *room.may_import)]
    assert [name for name in named if name not in (*MODULES, EVERYTHING)] == []


def test_no_two_rooms_may_import_each_other() -> None:
    every = rooms()
    below = {
        room.modules: {found.modules for name in room.may_import if (found := room_of(name, every))}
        for room in every
    }
    TopologicalSorter(below).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("importer", "imported", "kept"),
    [
        ("fairdraft.proof.cases", "fairdraft.verification.block", True),
        ("fairdraft.proof.cases", "fairdraft.proof.exact", True),
        ("fairdraft.proof.cases", "numpy", True),
        ("fairdraft.proof.cases", "fairdraft.kv.pool", False),
        ("fairdraft.proof.cases", "fairdraft.no_room_at_all", False),
        ("fairdraft.kv.pool", "fairdraft.llm", True),  # another room's contract
    ],
)
def test_a_contract_sees_what_is_not_allowed(importer: str, imported: str, kept: bool) -> None:
    graph = grimp.ImportGraph()
    for module in (importer, imported):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported)
    room = next(room for room in rooms() if room.modules == ("proof",))
    contract = RoomContract(
        "proof",
        {},
        {"modules": [*room.modules], "says": room.says, "may_import": [*room.may_import]},
    )
    assert contract.check(graph, verbose=False).kept is kept


def test_a_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8").replace("| `kv/` |", "| `somewhere else` |")
    assert page(text) == PAGE.read_text("utf-8")
