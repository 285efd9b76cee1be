"""docs/RESULTS.md, written from the JSON of the sections."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import table

from proof import losses, plot, speed

DOCS = harness.ROOT / "docs"
COMMAND = "python benchmarks/proof/run.py"
TITLES = {
    "readout": "What can still be read",
    "changing": "Light that changes, pictures that return",
    "rates": "More frames a second at a fixed number of tokens",
    "speed": "Time",
    "scaling": "What grows with what",
}
TOLD = {
    "defaults": "Every method at its authors' own setting. `kept`: tokens that leave the tower, of "
    "all; `work`: of the dense tower's operations (before a tower: kept cells that attend to all "
    "of their frame).",
    "settings": "How many settings each method was tuned over, in the two tables that follow. "
    "Ours: thresholds with 2, 4 and 8 sub-blocks a side, with motion in whole pixels and (where "
    "the gate has it) in quarters: `benchmarks/reading/ladder.py`. Peers: the one knob of each, "
    "finely: `benchmarks/peers/registry.py`. Not compared below: controls, methods inside the "
    "tower, where no token goes, and our own adjacent gate with sub-blocks, nobody's method.",
    "equal reading": "What a user lives by. Of each method, the one setting of fewest tokens that "
    "retains 99 % of what is read from the dense video, over all clips together. `ours / this`: "
    "the tokens of `patchgate` over those of the row.",
    "by group": "The same clip by clip, ours and every peer tuned by an oracle that knows the "
    "answers, over all settings that were counted above; a method that has no setting that "
    "suffices keeps everything. `ours`: the better of `patchgate` and, for the reader that has "
    "one, `patchgate, merged`; `best peer`: the best of all peers, in each group anew. The last "
    "four columns: with the one setting for all clips of the table before, ours, and the peer "
    "(`of it`) that needs fewest tokens over all.",
    "settings taken": "The one setting of each method over the clips of the section before; of the "
    "peers that look at pixels, the three that need fewest tokens there.",
    "aims of light and returns": "Tokens at the settings of the next table, or at our defaults. An "
    "aim is reached only if as much is read, or 99 %. By a cut back, a camera comes on again.",
    "with one setting for all clips": "Tokens a second and, in brackets, what is retained of what "
    "is read from the dense video. Nothing is tuned: each method has the one setting that retains "
    "99 % over the clips of the section before, and these clips are of seeds that nothing was "
    "tuned on. Ours is shown as it is, with `illumination=global` and with `memory=4`.",
    "with the defaults": "The same of our defaults: which rule helps against what. `dialogue`: two "
    "cameras in turn; `speaker`: a slide and its speaker in turn; `exposure`: steps of it; "
    "`mains`: bands of 50 or 60 Hz; `lamp`: switched off and on (`benchmarks/reading/scenes/`).",
    "cuts": "The share of a frame's cells that is encoded with `memory=4` at a cut after which an "
    "earlier picture may stand there again, where it is 1 without; and in the usual frame. In a "
    "dialogue a small person moves and a word may be new, a speaker fills the frame.",
    "in a gated tower": "The work of the small transformer's layers over that of the dense one "
    "and, in brackets, what it retains when it reads its own gated features: a token then has the "
    "features of the light, or of the time, that it was encoded in.",
    "accuracy": "Share of all questions answered right, over all clips. `budget`: the tokens of so "
    "many whole frames a second; `all`: every token of the frames that are looked at. No method "
    "knows the answers here. `patchgate` is the finest of 15 thresholds that fits the budget; "
    "`patchgate, fewer frames` takes none of the coarsest five and looks at every k-th frame "
    "instead, which peers with a threshold could do as well; `patchgate, merged` is the default "
    "gate, and what it keeps is merged to the budget.",
    "rising": "Accuracy at 30 frames a second less that at 1; 95 % of a bootstrap over clips.",
    "by scene": "Ours, scene by scene.",
    "stages": "Milliseconds a frame by stage, medians of runs in turn. `speed-up`: over dense, the "
    "gate's time included. The last column is 1 for a method whose time falls as its tokens do.",
    "at equal reading": "Both at the one setting for all clips with which PP-OCR reads 99 % (the "
    "first section), kept cells only, in turn.",
    "streams": "So many live streams that each bring four frames a tick; all served on the same "
    "threads. RLT packs all streams in one call, dense batches them; ours has a state a stream, "
    "gates all in one call and packs what they keep (`push_together`). "
    "`patchgate, merged`: the gate, residual attention, and what is kept merged to a fifth.",
    "memory": "The peak of one run above what was there before it, in a process of its own. The "
    "GRT gates hold every patch of the clip with what is measured of it, for the sake of speed.",
    "frames a second": "The same four seconds of video looked at more and more often.",
    "resolution": "Grid, gate and the kept cells' pixels, without a tower; RLT's mask on random "
    "floats of that size beside it.",
    "length": "The command line on one clip that is played again and again.",
}
PLOTS: dict[str, Callable[[Any, Path], None]] = {
    "readout": lambda tables, path: plot.reading(tables["curve"], path),
    "rates": lambda tables, path: plot.rates(tables["accuracy"], path),
    "speed": lambda tables, path: plot.stages(tables["stages"], speed.STAGES, path),
    "scaling": plot.scaling,
}
SKIPPED = ("curve",)  # too long for a page; it is drawn


def publish(folder: Path) -> None:
    """The page and its plots, from the sections that are there."""
    sections = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in TITLES
        if (folder / f"{name}.json").exists()
    }
    tables = {name: section["rows"] for name, section in sections.items()}
    home = folder == harness.RESULTS / "proof"
    pictures = (DOCS / "results") if home else folder
    drawn = {name: pictures / f"{name}.png" for name in tables}
    drawn = {name: path for name, path in drawn.items() if name in PLOTS}
    for name, path in drawn.items():
        PLOTS[name](tables[name], path)
    text = page(sections, {name: f"{pictures.name}/{path.name}" for name, path in drawn.items()})
    (DOCS / "RESULTS.md" if home else folder / "RESULTS.md").write_text(text)


def page(sections: dict[str, Any], pictures: dict[str, str]) -> str:
    """The page of sections as their files hold them; ``pictures``: their plots, from where the page
    is.
    """
    lost = losses.of({name: section["rows"] for name, section in sections.items()})
    lines = [
        "# Results", "",
        "Every peer beside ours: what is still read, at which number of tokens, in what time. "
        "Written by `benchmarks/proof/page.py` from the JSON in `benchmarks/results/proof/`; no "
        "figure is typed by hand. The peers: `benchmarks/peers/`, one file each, from their "
        "definitions.", "",
        "## What we lose on", "",
        *([f"- {each}" for each in lost] or ["Nothing in what was measured."]),
        *[f"- Not measured yet: {TITLES[name].lower()} (`{COMMAND} {name}`)."
          for name in TITLES if name not in sections],
        "- No language model was asked: no weights of one can be had here. Reading is done by "
        "PP-OCR and by a small transformer that was trained for it.",
        "- Time and memory are those of a CPU.", "",
        *_fairness(),
    ]  # fmt: skip
    for name, section in sections.items():
        lines += ["", f"## {TITLES[name]}", "", _told(section["provenance"]), ""]
        if name in pictures:
            lines += [f"![{TITLES[name]}]({pictures[name]})", ""]
        for title, rows in section["rows"].items():
            if title not in SKIPPED and rows:
                lines += [f"### {title.capitalize()}", "", TOLD[title], ""]
                lines += [*table.markdown(rows), ""]
    lines += [
        "", "## To do it again", "", "```",
        f"{COMMAND}            # all of it: hours; each section says above what it took",
        f"{COMMAND} readout    # or a section: readout, changing, rates, speed, scaling",
        f"{COMMAND} --quick    # that it all runs",
        f"{COMMAND} --redraw   # this page, from the JSON", "```", "",
        "`PATCHGATE_CLIPS=folder` names other videos to be timed, `--clips` and "
        "`--seconds` make the rendered ones fewer, `--few` the controls. On a video of yours: "
        "`patchgate bench VIDEO`.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _fairness() -> list[str]:
    return [
        "## What is the same for all", "",
        "- The same decoded frames in memory, the same conversion and resizing (ours, which is "
        "fast), the same tower, the same attention kernels. The gate's time is counted.",
        "- Peers are vectorised: none loses by a Python loop that its method does not need.",
        "- A peer that drops cells before the tower is read as if the tower saw whole frames, with "
        "every dropped cell as it was kept last; most of them give it less.",
        "- A peer after the tower is given the dense tower's features of every frame.",
        "- At a fixed number of tokens, a peer that takes a budget is given it; one with a "
        "threshold is bisected to the most tokens that are no more. Ours takes the finest of 15 "
        "thresholds that fits; which ones was decided on validation clips.",
        "- What is tuned at equal reading is tuned by an oracle on the very clips it is measured "
        "on, ours as every peer: that flatters all.",
    ]  # fmt: skip


def _told(source: dict[str, Any]) -> str:
    """Where a section's figures come from; what else ran then matters for time only."""
    load = source["load average before"]
    return f"{table.told(source)} Load of the machine when it began: {load}; {source['seconds']} s."
