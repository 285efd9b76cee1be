"""The documentation site's hooks for mkdocs: pages that are not written in docs/.

CHANGELOG.md and the pages that benchmarks write are copied, packaging/notebooks.py has made those
of the notebooks, and the command line's page is made from the program. Links to files of the
repository lead to the forge, if mkdocs.yml names one.
"""

import os
import re
from pathlib import Path
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "build" / "notebooks"  # where packaging/notebooks.py leaves them
COPIED = {  # a file of the repository, and where it stands in the site
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/GPU.md": "results/gpu.md",
    "benchmarks/results/README.md": "results/all.md",
    "benchmarks/reading/VIT_READER.md": "results/vit_reader.md",
    **{
        path.relative_to(ROOT).as_posix(): f"results/{path.name}"
        for path in (ROOT / "benchmarks" / "results").glob("*.*")
        if path.name != "README.md" and path.suffix in (".md", ".png")
    },
}
RUN = {  # a notebook, and where its page and pictures stand
    f"examples/notebooks/{path.name}": f"notebooks/{path.stem}.md"
    for path in (ROOT / "examples" / "notebooks").glob("*.ipynb")
}
SHOWN = COPIED | RUN
_LINK = re.compile(r"(!?)\[([^]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie elsewhere, or are made."""
    for path, page in COPIED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    for path in sorted(NOTEBOOKS.rglob("*.*")):
        page = f"notebooks/{path.relative_to(NOTEBOOKS).as_posix()}"
        files.append(File.generated(config, page, abs_src_path=str(path)))
    files.append(File.generated(config, "cli.md", content=_command_line()))
    for file in files.documentation_pages():
        if file.src_uri not in _in_nav(config["nav"]):
            file.inclusion = file.inclusion.NOT_IN_NAV
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lets links of the repository lead to pages of the site."""
    own = page.file.src_uri
    source = next((path for path, copy in SHOWN.items() if copy == own), f"docs/{own}")

    def site(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = normpath(os.path.join(os.path.dirname(source), target))
        there = SHOWN.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
        if there and files.get_file_from_path(there):
            return f"{mark}[{text}]({relpath(there, os.path.dirname(own) or '.')}{anchor or ''})"
        if not (ROOT / path).exists():
            return match[0]  # mkdocs says that it leads nowhere
        forge = config["extra"]["repository"]
        return f"[{text}]({forge.rstrip('/')}/blob/main/{path})" if forge else text

    return _LINK.sub(site, markdown)


def _in_nav(nav: Any) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    items = nav.values() if isinstance(nav, dict) else nav
    return set().union(*map(_in_nav, items))


def _command_line() -> str:
    """The page of all commands and options, as the program itself tells them."""
    import typer.main

    from patchgate.cli import app

    top = typer.main.get_command(app)
    lines = ["# Command line", "", (top.help or "").strip(), ""]
    for name, command in sorted(top.commands.items()):
        context = command.make_context(name, [], resilient_parsing=True)
        words = " ".join(command.collect_usage_pieces(context))
        lines += [f"## patchgate {name}", "", f"```\npatchgate {name} {words}\n```", ""]
        lines += [_plain(command.help or ""), "", "| option | what it says |", "| --- | --- |"]
        for parameter in command.get_params(context):
            told = parameter.get_help_record(context)
            if told:
                lines.append("| " + " | ".join(_cell(each) for each in told) + " |")
        lines.append("")
    return "\n".join(lines)


def _plain(text: str) -> str:
    return text.replace("\b", "").strip()


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()
