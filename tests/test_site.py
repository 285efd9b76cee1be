"""What the site promises: every how-to is two clicks from home, and its code is run."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "packaging"))

import run_pages
from run_pages import ROOT

DOCS = ROOT / "docs"
WANTED = {  # what people want to do, and the page that says how
    "features of every frame": "how/every-frame.md",
    "one vector a frame": "how/one-vector.md",
    "prompt with a video": "how/prompt.md",
    "vLLM": "how/vllm.md",
    "camera": "how/live.md",
    "folder": "how/folder.md",
    "many machines": "how/cluster.md",
    "settings": "how/settings.md",
    "trained with the gate": "how/fine-tune.md",
    "vision tower that patchgate does not know": "add-a-tower.md",
    "new operation": "how/add-an-op.md",
}
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def links(page: Path) -> set[Path]:
    """The files that a page links to."""
    found = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    return {(page.parent / target).resolve() for target in found}


@pytest.mark.parametrize(("wish", "name"), WANTED.items(), ids=WANTED.values())
def test_a_how_to_is_two_clicks_from_home_under_the_words_people_use(wish: str, name: str) -> None:
    listed = DOCS / "how" / "index.md"
    assert listed in links(DOCS / "index.md")
    assert DOCS / name in links(listed)
    row = next(row for row in listed.read_text("utf-8").splitlines() if wish in row)
    assert f"({name.removeprefix('how/')})" in row.replace("../", "")
    assert name in (ROOT / "mkdocs.yml").read_text("utf-8")


@pytest.mark.parametrize("name", WANTED.values())
def test_the_code_of_a_how_to_is_there_and_some_part_runs_it(name: str) -> None:
    page = DOCS / name
    assert page in run_pages.PAGES
    ast.parse(run_pages.program(page))
    assert run_pages.program(page)
    part = (ROOT / ".ci" / "parts" / f"{run_pages.part(page)}.sh").read_text("utf-8")
    word = "" if run_pages.part(page) == "docs" else f" --part {run_pages.part(page)}"
    assert f"packaging/run_pages.py{word}\n" in part


def test_a_page_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nvalue = 1\n```\n\n```python\nassert value == 2, 'a reason'\n```\n")
    assert not run_pages.run(page)
    assert "AssertionError: a reason" in capsys.readouterr().out
    page.write_text("```python\nvalue = 1\n```\n\n```python\nassert value == 1\n```\n")
    assert run_pages.run(page)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.name)
def test_a_list_within_a_list_is_one_on_the_site_too(path: Path) -> None:
    """The site's Markdown wants four spaces; with fewer the inner list goes on with the outer."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^ {1,3}([-*]|\d+\.) ", text, re.MULTILINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs_and_its_links_lead_somewhere(path: Path) -> None:
    notebook = json.loads(path.read_text("utf-8"))
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            ast.parse(text)
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert cell["cell_type"] == "code" or (path.parent / target).exists(), target


def test_there_are_three_notebooks_and_the_site_shows_each() -> None:
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    ran = (ROOT / "packaging" / "notebooks.py").read_text("utf-8")
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        assert f"notebooks/{path.stem}.md" in nav
        assert f'"{path.stem}"' in ran
        assert path.resolve() in links(DOCS / "how" / "index.md")
