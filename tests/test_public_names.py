"""Every public name has a docstring and a page of the reference."""

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import patchgate

PAGES = sorted((Path(__file__).parents[1] / "docs" / "api").glob("*.md"))
MODULES = {
    "patchgate": patchgate,
    "patchgate.corpus": patchgate.corpus,
    "patchgate.language": patchgate.language,
    "patchgate.policies": patchgate.policies,
    "patchgate.reference": patchgate.reference,
}
NAMES = [
    (place, name)
    for place, module in MODULES.items()
    for name in module.__all__
    if not isinstance(getattr(module, name), ModuleType)
]


def _listed() -> list[str]:
    return [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]


@pytest.mark.parametrize(("place", "name"), NAMES)
def test_a_public_name_has_a_page_and_a_docstring(place: str, name: str) -> None:
    assert f"{place}.{name}" in _listed(), f"docs/api/ has no ::: {place}.{name}"
    found = getattr(MODULES[place], name)
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        return  # a table, such as POLICIES, or a name for a type
    assert inspect.getdoc(found), f"{name} has no docstring"
    for own, member in vars(found).items() if inspect.isclass(found) else ():
        if not own.startswith("_") and inspect.isfunction(member):
            assert inspect.getdoc(getattr(found, own)), f"{name}.{own} has no docstring"


def test_the_reference_has_no_name_that_is_gone() -> None:
    public = {f"{place}.{name}" for place, module in MODULES.items() for name in module.__all__}
    assert set(_listed()) <= public
    assert len(_listed()) == len(set(_listed())), "a name stands on two pages"


def test_what_a_package_defines_or_hands_on_stands_in_its_all() -> None:
    """Type checkers take no other name of a typed package as public."""
    for path in sorted(Path(patchgate.__file__).parent.rglob("__init__.py")):
        named, public = set(), set()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                public = set(ast.literal_eval(node.value))
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                named.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                named.add(ast.unparse(target))
        lost = {name for name in named - public if not name.startswith("_")}
        assert not lost, f"{path}: __all__ has no {', '.join(sorted(lost))}"


def test_the_version_stands_in_one_place_and_the_citation_repeats_it() -> None:
    citation = (PAGES[0].parents[2] / "CITATION.cff").read_text("utf-8")
    assert re.search(r"^version: (.+)$", citation, re.M)[1] == patchgate.__version__


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    assert (Path(patchgate.__file__).parent / "py.typed").exists()
