"""What the documents show is there, and so is what a folder's list of its files names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "python" / "patchgate"
ONE_A_FILE = ("reference", "kernels")  # the files' names say it all
FOLDERS = sorted(
    path.parent
    for path in LIBRARY.rglob("*/__init__.py")
    if not {*path.relative_to(LIBRARY).parts}.intersection(ONE_A_FILE)
)
PAGES = (ROOT.glob(f"{place}*.md") for place in ("", "docs/**/", "benchmarks/**/"))
DOCUMENTS = sorted(path for pages in PAGES for path in pages)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"@[A-Z]+@|TODO|FIXME", text)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (path.parent / target).exists(), target


def test_the_readmes_python_compiles_and_uses_public_names() -> None:
    import patchgate

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
        for name in re.findall(r"\bpatchgate\.(\w+)", block):
            assert name in patchgate.__all__, name


def test_the_install_page_tells_the_versions_of_all_files() -> None:
    form = re.compile(r"patchgate\.[A-Z][A-Za-z]+/[0-9]+")
    written = {found for path in LIBRARY.rglob("*.py") for found in form.findall(path.read_text())}
    assert set(form.findall((ROOT / "docs" / "install.md").read_text())) == written


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folders_init_lists_its_files_and_no_others(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"(?<![\w/])\w+\.py", text)) == files
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {room for room in rooms if not re.search(rf"\b{room}/", text)} == set()


def test_docstrings_are_no_fragments_and_refer_to_what_is_there() -> None:
    trees = {path: ast.parse(path.read_text()) for path in LIBRARY.rglob("*.py")}
    there = {name for path in trees for name in (path.stem, path.parent.name)}
    texts: list[tuple[Path, str]] = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            there |= {str(getattr(node, name, "")) for name in ("name", "id", "attr", "arg")}
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                texts.append((path, ast.get_docstring(node) or ""))
    for path, text in texts:
        assert not re.match(r"(Of|For who|In place of) ", text), f"{path}: {text}"
        cited = re.findall(r"\b[Ss]ee ``([\w.]+)``", text)
        cited += re.findall(r"``([\w.]+)`` (?:has|says|documents) ", text)
        lost = {name for name in cited if not there.issuperset(name.removesuffix(".py").split("."))}
        assert not lost, f"{path}: {lost}"
