"""Rows as tables: on the terminal, as Markdown, and all of results/*.json in results/README.md:
python benchmarks/table.py
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import harness

Rows = Sequence[Mapping[str, Any]]  # of one kind: the first names the columns


def publish(name: str, rows: Rows, title: str = "") -> None:
    """Shows rows and writes ``results/<name>.json``."""
    show(rows, title)
    print(harness.save(name, rows))


def show(rows: Rows, title: str = "") -> None:
    """Rows on the terminal."""
    from rich.console import Console  # not on every machine with a GPU
    from rich.table import Table

    shown = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        shown.add_row(*(str(row.get(name, "")) for name in rows[0]))
    Console().print(shown)


def section(path: Path) -> list[str]:
    """One file of results as Markdown."""
    content = json.loads(path.read_text())
    if "benchmarks" in content:
        rows, source = micro_rows(content["benchmarks"]), content["machine_info"]
    else:
        rows, source = content["rows"], content["provenance"]
    return [f"## {path.stem}", "", told(source), "", *markdown(rows), ""]


def micro_rows(benchmarks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """pytest-benchmark's figures, one row each."""
    return [
        {
            "group": each["group"] or "",
            "what": each["name"],
            "median ms": f"{1e3 * each['stats']['median']:.3f}",
            "quartiles ms": f"{1e3 * each['stats']['q1']:.3f}..{1e3 * each['stats']['q3']:.3f}",
            "rounds": each["stats"]["rounds"],
        }
        for each in sorted(benchmarks, key=lambda each: (each["group"] or "", each["name"]))
    ]


def told(source: dict[str, Any]) -> str:
    """Where the figures come from, in a sentence."""
    machine = ", ".join(source[name] for name in ("gpu", "cpu") if name in source)
    return (
        f"{source['date']}, commit {source['commit']}, `{source['command']}`, {machine}, "
        f"{source['cores']} cores, {source['threads']} threads, torch {source['torch']}. "
        "A shared machine: compare within a table, not between them."
    )


def markdown(rows: Rows, hide: Sequence[str] = ()) -> list[str]:
    """Rows as a Markdown table, without some of the columns."""
    if not rows:
        return ["(nothing measured)"]
    columns = [name for name in rows[0] if name not in hide]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(str(row.get(name, "")) for name in columns) + " |")
    return lines


def main() -> None:
    files = sorted(harness.RESULTS.glob("*.json"))
    lines = ["# Measured", "", "Made by `benchmarks/table.py` from the JSON files beside it.", ""]
    for path in files:
        if not path.stem.startswith(("reading", "pretrained", "flicker")):
            lines += section(path)
    lines += ["## reading", "", "What can still be read from the tokens: [reading.md](reading.md);"]
    lines += ["with a tower of published weights: [reading_formula.md](reading_formula.md)."]
    if (harness.RESULTS / "pretrained.md").exists():
        lines += ["", "## pretrained", "", "A pretrained tower: [pretrained.md](pretrained.md)."]
    if (harness.RESULTS / "flicker.md").exists():
        lines += [
            "",
            "## flicker",
            "",
            "Flicker, exposure, grain, key frames: [flicker.md](flicker.md).",
        ]
    (harness.RESULTS / "README.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
