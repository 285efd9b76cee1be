"""The order of the rooms: a module imports only from rooms below its own, and from its own."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY, KERNELS = ROOT / "python" / "patchgate", ROOT / "kernels"

# From the top down. CONTRIBUTING.md has the same list, and says what is in each.
ROOMS: tuple[str, ...] = (
    "__main__",
    "cli",
    "serving",
    "corpus",
    "report",
    "live",
    "policies",
    "language",
    "merging",
    "pipeline",
    "encoders",
    "tokens",
    "gather",
    "gate",
    "grid",
    "_ops",
    "kernels",
    "decode",
    "reference",
    "_tensors",
    "_check",
    "colour",
    "beside",
    "_signature",
    "_early",
    "_cache",
)
# The same inside a room.
INSIDE: dict[str, tuple[str, ...]] = {
    "encoders": (
        "named",
        "gated",
        "run",
        "families",
        "tower",
        "reach",
        "adapted",
        "weights",
        "projection",
        "patch_grid",
        "calls",
    ),
}
COMPILED = {"_C"}  # below all of them
ONE_A_FILE = {"reference", "kernels"}  # lists of ops, which may be long

MOST_ROOMS, MOST_LINES, MOST_FILES, MOST_FLAT_TESTS = 26, 300, 20, 15


class Import(NamedTuple):
    """One import of a module of the library, wherever it stands in the file."""

    target: str  # the module that is imported, or in which the imported name is defined
    line: int
    for_types: bool  # under ``if TYPE_CHECKING``


@dataclass
class Package:
    """The modules of a package by name, and what they import of each other."""

    name: str
    files: dict[str, Path]

    def __post_init__(self) -> None:
        self._trees = {name: ast.parse(path.read_text()) for name, path in self.files.items()}
        self._found: dict[str, list[Import]] = {}

    @classmethod
    def at(cls, folder: Path, **elsewhere: Path) -> "Package":
        """The modules of a folder, and of sub-packages whose sources are elsewhere."""
        roots = {folder.name: folder, **{f"{folder.name}.{k}": v for k, v in elsewhere.items()}}
        files: dict[str, Path] = {}
        for prefix, root in roots.items():
            for path in root.rglob("*.py"):
                parts = path.relative_to(root).with_suffix("").parts
                if root is folder and parts[0] in elsewhere:
                    continue  # a link to it
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                files[".".join([prefix, *parts])] = path
        return cls(folder.name, files)

    def imports(self, module: str) -> list[Import]:
        """All of a module's: absolute, relative, inside functions, by name."""
        if module not in self._found:
            self._found[module] = list(self._imports(self._trees[module], module, False))
        return self._found[module]

    def _imports(self, node: ast.AST, module: str, for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.stmt | ast.expr):
            for target in self._targets(module, node):
                yield Import(target, node.lineno, for_types)
        if isinstance(node, ast.If):
            for_types |= "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.iter_child_nodes(node):
            yield from self._imports(inner, module, for_types)

    def _targets(self, module: str, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if self._ours(alias.name):
                    yield self._known(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = self._base(module, node)
            for alias in node.names:
                if self._ours(base) and self._ours(f"{base}.{alias.name}"):
                    yield from self._named(base, alias.name)
        elif isinstance(node, ast.Call) and _called(node) == "import_module":
            first = node.args[0]
            name = first.value if isinstance(first, ast.Constant) else None
            if isinstance(name, str) and self._ours(name):
                yield self._known(name)

    def _named(self, base: str, name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Where a name comes from: a module, or also what an ``__init__`` hands on."""
        if f"{base}.{name}" in self.files and not self._handed_on(base, name):
            yield f"{base}.{name}"
            return
        if base != self.name:  # nobody depends on the whole library by taking a name through it
            yield self._known(base)
        for origin, inner in self._handed_on(base, name):
            if f"{origin}.{inner}" not in seen:
                yield from self._named(origin, inner, seen | {f"{origin}.{inner}"})

    def _handed_on(self, base: str, name: str) -> list[tuple[str, str]]:
        """The imports of an ``__init__`` that bind a name."""
        if base not in self.files or self.files[base].name != "__init__.py":
            return []
        return [
            (origin, alias.name)
            for node in ast.walk(self._trees[base])
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if (alias.asname or alias.name) == name
            and self._ours(origin := self._base(base, node))
            and (origin, alias.name) != (base, name)
        ]

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.files[module].name == "__init__.py"
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + package]
        return ".".join([*parts, *filter(None, [node.module])])

    def _ours(self, name: str) -> bool:
        return f"{name}.".startswith(f"{self.name}.") and room_of(name) not in COMPILED

    def _known(self, name: str) -> str:
        """The longest part of a dotted name that is a module."""
        while name not in self.files and "." in name:
            name = name.rpartition(".")[0]
        return name


def _called(call: ast.Call) -> str:
    """The last name of what is called."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def room_of(module: str) -> str:
    """The part of a module's name after the package's; "" of the package itself."""
    return (*module.split("."), "")[1]


def upwards(
    package: Package, rooms: tuple[str, ...], inside: dict[str, tuple[str, ...]]
) -> list[str]:
    """Every import that does not lead down, in words."""
    found = []
    floors = {room: floor for floor, room in enumerate(rooms)}
    for module in sorted(package.files):
        if module == package.name:
            continue  # it hands the public names on
        for each in package.imports(module):
            where = f"{module}:{each.line} imports {each.target}"
            here, there = room_of(module), room_of(each.target)
            if here != there:
                if not there or floors[there] < floors[here]:
                    found.append(where)
                elif each.for_types:
                    found.append(f"{where} for types only")
            elif here in inside:
                floor = {room: f for f, room in enumerate(inside[here])}
                one, other = (room_of(x.partition(".")[2]) for x in (module, each.target))
                if one and floor.get(other, len(floor)) < floor[one]:
                    found.append(where)
    return found


def circles(package: Package) -> list[set[str]]:
    """Modules that import each other, over whatever detours."""
    graph = {m: {i.target for i in package.imports(m)} - {m, package.name} for m in package.files}
    reach: dict[str, set[str]] = {}
    for module in graph:
        seen: set[str] = set()
        todo = [module]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        reach[module] = seen
    around = {frozenset(o for o in reach[m] if m in reach[o]) for m in graph if m in reach[m]}
    return sorted(map(set, around), key=sorted)


@pytest.fixture(scope="module")
def library() -> Package:
    return Package.at(LIBRARY, kernels=KERNELS)


def test_every_room_has_its_place(library: Package) -> None:
    assert {room_of(module) for module in library.files} - {""} == set(ROOMS)
    assert len(ROOMS) <= MOST_ROOMS
    for room, parts in INSIDE.items():
        prefix = f"{library.name}.{room}."
        inner = {m.removeprefix(prefix).split(".")[0] for m in library.files if prefix in m}
        assert inner == set(parts)


def test_imports_lead_down(library: Package) -> None:
    assert upwards(library, ROOMS, INSIDE) == []


def test_no_module_imports_itself_over_a_detour(library: Package) -> None:
    assert circles(library) == []


def test_contributing_has_the_same_rooms() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    house = re.search(r"## The house\n.*?```\n(.*?)```", text, re.DOTALL)
    assert house is not None
    names = [line.split()[0] for line in house[1].splitlines() if not line.startswith(" ")]
    assert tuple(re.sub(r"/$|\.py$", "", name) for name in names) == ROOMS


def test_no_file_or_folder_is_too_large_to_be_looked_through(library: Package) -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in library.files.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
    files: dict[str, int] = {}
    for path in library.files.values():
        folder = path.parent.relative_to(ROOT).as_posix()
        files[folder] = files.get(folder, 0) + (path.parent.name not in ONE_A_FILE)
    for path in (ROOT / "csrc").rglob("*.*"):
        folder = path.parent.relative_to(ROOT).as_posix()
        files[folder] = files.get(folder, 0) + 1
    assert {name: count for name, count in files.items() if count > MOST_FILES} == {}
    assert len(list((ROOT / "tests").glob("test_*.py"))) <= MOST_FLAT_TESTS


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from house.low import thing", []),
        ("from house.high import thing", ["house.mid:1 imports house.high"]),
        ("import house.high.attic as attic", ["house.mid:1 imports house.high.attic"]),
        ("from .high import thing", ["house.mid:1 imports house.high"]),
        ("from . import high", ["house.mid:1 imports house.high"]),
        ("def f():\n    from house import high", ["house.mid:2 imports house.high"]),
        ("import importlib\nimportlib.import_module('house.high')",
         ["house.mid:2 imports house.high"]),
        # Through a package that hands it on, or the whole library.
        ("from house.low import handed", ["house.mid:1 imports house.high.attic"]),
        ("from house import handed", ["house.mid:1 imports house.high.attic"]),
        ("import house", ["house.mid:1 imports house"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.low import thing",
         ["house.mid:3 imports house.low for types only"]),
    ],
)  # fmt: skip
def test_what_leads_up_is_seen(tmp_path: Path, code: str, found: list[str]) -> None:
    house = tmp_path / "house"
    for name, text in {
        "__init__.py": "from house.high.attic import handed",
        "high/__init__.py": "thing = 1",
        "high/attic.py": "handed = 1",
        "mid.py": code,
        "low/__init__.py": "from house.high.attic import handed\nthing = 1",
    }.items():
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / name).write_text(text)
    said = upwards(Package.at(house), ("high", "mid", "low"), {})
    assert [line for line in said if line.startswith("house.mid")] == found


def test_a_circle_is_seen(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    for name, text in {"__init__": "", "a": "from house import b", "c": "import house.a",
                       "b": "def f():\n    from .c import x"}.items():  # fmt: skip
        (house / f"{name}.py").write_text(text)
    assert circles(Package.at(house)) == [{"house.a", "house.b", "house.c"}]
