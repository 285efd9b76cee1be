"""Runs the notebooks of examples/notebooks, and makes pages of them: build/notebooks/NAME.md.

    python packaging/notebooks.py [NAME.ipynb...]

A cell that raises ends it with an error. The notebooks in the repository hold no outputs; those of
the pages are what the cells gave here. A model that a notebook names as ../../build/models/NAME is
written first: packaging/run_pages.py says how.
"""

import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from run_pages import ROOT, write_models

FOLDER = ROOT / "examples" / "notebooks"
OUT = ROOT / "build" / "notebooks"
ORDER = ("what-changes", "features-and-search", "prompt")  # each leads to the next


def page(path: Path) -> None:
    """Runs one notebook; writes its page and its pictures."""
    began = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    write_models("\n".join(cell.source for cell in notebook.cells))
    where = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=600, coalesce_streams=True, resources=where).execute()
    for cell in notebook.cells:  # warnings of libraries and bars of progress belong to the terminal
        outputs = cell.get("outputs", [])
        told = [each for each in outputs if each.get("name") == "stderr"]
        print(*(each.text for each in told), sep="", end="", file=sys.stderr)
        if told:
            cell.outputs = [each for each in outputs if each not in told]
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, {"unique_key": path.stem, "output_files_dir": path.stem}
    )
    shutil.rmtree(OUT / path.stem, ignore_errors=True)
    for name, content in resources["outputs"].items():
        (OUT / name).parent.mkdir(exist_ok=True)
        (OUT / name).write_bytes(content)
    note = f"*This is `examples/notebooks/{path.name}`, and what its cells gave when it was run.*"
    text = re.sub(r"^(# .*)$", lambda title: f"{title[0]}\n\n{note}", text, count=1, flags=re.M)
    (OUT / f"{path.stem}.md").write_text(text, "utf-8")
    print(f"{path.name}: {time.perf_counter() - began:.1f} s", flush=True)


def main() -> None:
    given = [Path(word).resolve() for word in sys.argv[1:]]
    OUT.mkdir(parents=True, exist_ok=True)
    for path in given or [FOLDER / f"{name}.ipynb" for name in ORDER]:
        page(path)


if __name__ == "__main__":
    main()
