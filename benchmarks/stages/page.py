"""The table of benchmarks/GPU.md, from facts that are kept in benchmarks/results/<gpu>-<date>/."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from commit import ROOT

from stages import KERNELS, MODES, PATHS, STAGES
from stages.facts import REHEARSAL, read

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "benchmarks" / "GPU.md"
BEGIN, END = "<!-- by stages/page.py -->", "<!-- end -->"
NEVER = "not yet run on a GPU"
WHERE = {
    "frame_grid": "`csrc/cuda/`, 1 launch",
    "gate": "`csrc/cuda/`, 1 cooperative launch a push",
    "compact": "`csrc/cuda/`, 1 launch and a memset",
    "gather": "`kernels/`, 1 launch",
    "exchange": "`kernels/`, 2 launches",
    "activate": "`kernels/`, 2 launches a frame",
    "row_distance": "plain torch on a GPU",
    "gate with light": "`csrc/cuda/gate/gate_relight.h`, `gate_light_kernel`",
    "gates of cameras": "`gate/bank.py`: the gates of many cameras in 1 launch",
    "gate with memory": "`gate/longterm/`: the gate's kernels, again at a turn",
    "NVDEC": "`decode/nvdec/`, `pipeline/surfaces.py`",
    "towers": "`encoders/`, so400m in bfloat16",
}


def keep(folder: Path) -> list[Path]:
    """Adds a run's facts to those that are kept, and writes the page.

    Returns:
        The files that changed.

    Raises:
        ValueError: there are none, or some of a rehearsal or of an unknown device.
    """
    found = [path for letter in STAGES if (path := folder / f"{letter}.jsonl").exists()]
    facts = [fact for path in found for fact in read(path)]
    devices = {fact["device"] for fact in facts}
    if not facts or devices & {REHEARSAL, "unknown"}:
        raise ValueError(
            f"expected facts of a GPU in {folder}, got {', '.join(sorted(devices)) or 'none'}"
        )
    changed = {PAGE}
    for path in found:
        for fact in read(path):
            own = RESULTS / folder_of(fact)
            own.mkdir(parents=True, exist_ok=True)
            kept = own / path.name
            before = list(read(kept)) if kept.exists() else []
            if fact not in before:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(fact, ensure_ascii=False) + "\n")
                changed.add(kept)
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), kept_facts()), encoding="utf-8")
    return sorted(changed)


def folder_of(fact: dict[str, Any]) -> str:
    """ "NVIDIA H200" on 2026-11-23: h200-2026-11-23."""
    name = re.sub(r"[^a-z0-9]+", "-", fact["device"].lower()).strip("-")
    return f"{name.removeprefix('nvidia-')}-{fact['date']}"


def kept_facts() -> list[dict[str, Any]]:
    """All of them, in order of their dates."""
    files = [path for letter in STAGES for path in RESULTS.glob(f"*/{letter}.jsonl")]
    facts = [fact for path in sorted(files) for fact in read(path)]
    return sorted(facts, key=lambda fact: str(fact["date"]))


def written(page: str, facts: Iterable[dict[str, Any]]) -> str:
    """The page with the table of these facts in it."""
    head, _, rest = page.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"expected {BEGIN} and {END} in the page")
    return f"{head}{BEGIN}\n{table(list(facts))}\n{END}{tail}"


def table(facts: list[dict[str, Any]]) -> str:
    """A line per kernel."""
    lines = ["| kernel | where | ran | equal to the CPU, in cases | measured | date, commit |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for kernel in (*KERNELS, *MODES, *PATHS):
        own = [fact for fact in facts if fact.get("kernel") == kernel]
        own = [fact for fact in own if fact["device"] != REHEARSAL]
        where = WHERE.get(kernel, "`kernels/`")
        lines.append(f"| {kernel} | {where} | {' | '.join(told(own))} |")
    return "\n".join(lines)


def told(facts: list[dict[str, Any]]) -> list[str]:
    """Four cells: ran, equal, measured, date and commit. Of each case the newest fact counts."""
    if not facts:
        return [NEVER, "-", "-", "-"]
    equal = {fact["case"]: fact["equal"] for fact in facts if "equal" in fact}  # the newest of each
    wrong = [case for case, same in equal.items() if not same]
    last_of = {fact["item"]: fact for fact in facts}
    broken = [name for name, fact in last_of.items() if fact["result"] in ("failed", "stopped")]
    ran = "yes" if any(fact.get("ran") or "equal" in fact for fact in facts) else "no"
    if ran == "yes" and broken:
        ran = f"yes, but: {'; '.join(broken)}"
    same = "-" if not equal else f"NO: {'; '.join(wrong)}" if wrong else f"yes, in {len(equal)}"
    timed = {fact["item"]: figure for fact in facts if (figure := figure_of(fact))}
    measured = next(iter(timed.values()), "not yet")
    last = facts[-1]
    return [ran, same, measured, f"{last['device']}, {last['date']}, {last['commit']}"]


def figure_of(fact: dict[str, Any]) -> str:
    """The one figure of a fact that says most; "" where there is none."""
    if "times floor" in fact:
        return f"{fact['us']} us, {fact['times floor']} x its floor ({fact['case']})"
    if fact.get("way") == "patchgate":
        return f"{fact['of_decode']} of decoding alone ({fact['item']})"
    if "gated ms" in fact:
        return f"{fact['times faster than dense']} x faster than dense ({fact['item']})"
    return ""
