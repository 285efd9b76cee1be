"""The curve of benchmarks/reading: marks, costs, tuning, tables and the plot, on a made-up clip."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gate_videos import texture
from reading import page, plot, score, tables, trial, viewers
from reading.looks import Look
from reading.methods import CELL, Dense, Seen, Trace, Uniform, ours
from reading.questions import Question
from reading.score import Cost, Row, cheapest, interval, total
from reading.truth import SMALL
from reading.viewers import OnPictures
from torch import Tensor

import patchgate
from patchgate.colour import yuv_to_rgb

MATRIX = "bt709"
T, FPS = 30, 10
COST = Cost(tokens=100, seconds=3, cells=1000, kept_flops=0.1, full_flops=0.2, own_flops=0.2)
ROW = Row("eye", "slides", "a", "patchgate", "default", "slide", "what", 10, 8, 9, 8, COST)


class Eye:
    """Tells which of the clip's textures a box shows, by its green alone."""

    def __init__(self, planes: list[Tensor]) -> None:
        self._known = {str(i): each for i, each in enumerate(planes)}

    def read(self, pictures: Any, looks: list[Look]) -> list[str]:
        return [self._best(pictures.rgb(look.frame), look.box) for look in looks]

    def _best(self, picture: Tensor, box: tuple[float, ...]) -> str:
        left, top, right, bottom = map(int, box)
        seen = picture[1, top:bottom, left:right].int()
        off = {name: (seen - grey.int()).abs().sum() for name, grey in self._known.items()}
        return min(off, key=lambda name: int(off[name]))


def slides() -> tuple[Any, list[Question], Eye]:
    """Three pictures of a cell's size, one after another in the corner of a grey frame."""
    cards = [texture((CELL, CELL), seed)[0] for seed in range(3)]
    planes = torch.full((T, 3, 2 * CELL, 4 * CELL), 128, dtype=torch.uint8)
    for t in range(T):
        planes[t, 0, :CELL, :CELL] = cards[t // 10]
    box = (0.0, 0.0, float(CELL), float(CELL))
    questions = [
        Question("what", "slide", (Look(t, box, "text"),), (str(t // 10),), str(t // 10))
        for t in (1, 9, 11, 19, 21, 29)
    ]
    truth = SimpleNamespace(fps=FPS, scene="slides", name="slides-test-0")
    return SimpleNamespace(planes=planes, matrix=MATRIX, truth=truth), questions, Eye(cards)


def rows_of(*methods: Any) -> list[Row]:
    footage, questions, eye = slides()
    viewer = OnPictures("eye", (2 * CELL, 4 * CELL), eye)
    return list(trial.rows_of(viewer, footage, questions, methods))


# --- marks ------------------------------------------------------------------------------------


def test_a_clip_is_marked_against_the_truth() -> None:
    ours_row, uniform = rows_of(ours(), Uniform(1))
    assert (ours_row.asked, ours_row.right, ours_row.dense) == (6, 6, 6)
    assert ours_row.cost.tokens == 8 + 2  # a frame of eight cells, and two new cards
    assert uniform.cost.tokens == 8 * (3 + 4 + 4) / 3  # frame 0 is kept in each of three phases
    # Phases 1/3 and 2/3 sample at frames 4, 14, 24 and 7, 17, 27: 11 and 21 show what is gone.
    assert uniform.right == pytest.approx((6 + 4 + 4) / 3)


def test_a_rate_above_the_clips_is_left_out() -> None:
    assert [row.setting for row in rows_of(Uniform(10), Uniform(15))] == ["10 fps"]


def test_retention_counts_only_what_dense_reads() -> None:
    footage, questions, eye = slides()
    wrong = [replace(q, answer="no such thing") for q in questions[:2]]
    viewer = OnPictures("eye", (2 * CELL, 4 * CELL), eye)
    mixed = [*wrong, *questions[2:]]
    (row,) = trial.rows_of(viewer, footage, mixed, (ours(),))
    assert (row.asked, row.dense, row.retained) == (6, 4, 4)
    assert total([row]).retention == 1.0
    assert total([row]).accuracy == pytest.approx(4 / 6)


def test_fewer_takes_the_first_of_each_kind() -> None:
    look = Look(1, (0.0, 0.0, 1.0, 1.0), "text")
    many = [Question(k, "g", (look,), ("",), i) for i in range(50) for k in ("count", "what")]
    few = trial.fewer(many)
    assert [q.answer for q in few if q.kind == "count"] == [0, 1, 2]
    assert len([q for q in few if q.kind == "what"]) == trial.MOST["what"]


# --- costs ------------------------------------------------------------------------------------


def test_work_is_that_of_a_gated_tower() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.SiglipVisionConfig(image_size=4 * CELL, patch_size=CELL)
    config.vision_use_head = False
    tower = transformers.SiglipVisionModel(config).eval()
    grey = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    keep = torch.stack([torch.ones_like(grey), grey, torch.zeros_like(grey), ~grey])
    frame = torch.zeros(4, 4)
    frames = torch.stack([frame, frame + 0.8 * grey, frame + 0.8 * grey, frame + 0.8])
    pixels = frames.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)[:, None]
    options = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "search_radius": 0}
    gated = patchgate.gated(tower, context="kept", **options)
    with torch.inference_mode():
        gated(pixels.expand(-1, 3, -1, -1).contiguous())
    cost, counted = Cost.of([Trace.of(keep)], FPS), gated.last_work
    assert (cost.tokens, cost.cells, cost.seconds) == (counted.kept, counted.cells, 0.4)
    assert cost.kept_flops == pytest.approx(counted.gated_flops / counted.dense_flops)
    assert cost.full_flops == pytest.approx(0.5)  # a kept token costs what it does in dense


def test_dense_costs_all() -> None:
    footage, _, _ = slides()
    cost = Cost.of(Dense().traces(Seen(footage.planes, FPS, MATRIX)), FPS)
    assert cost.kept_flops == cost.full_flops == pytest.approx(1)
    assert cost.tokens == cost.cells


def test_totals_count_a_clips_cost_once() -> None:
    other = replace(ROW, clip="b", cost=replace(COST, tokens=300))
    both = total([ROW, replace(ROW, kind="order", retained=9), other])
    assert (both.tokens, both.seconds) == (400, 6)
    assert both.retention == pytest.approx((8 + 9 + 8) / 27)
    assert both.rate == pytest.approx(400 / 6)


def test_the_interval_draws_clips() -> None:
    alike = [replace(ROW, clip=name) for name in "abcdef"]
    assert interval(alike) == (pytest.approx(8 / 9), pytest.approx(8 / 9))
    low, high = interval([*alike, replace(ROW, clip="bad", retained=0)])
    assert 0 < low < total([*alike, replace(ROW, clip="bad", retained=0)]).retention < high
    assert math.isnan(interval([replace(ROW, dense=0, retained=0)])[0])


# --- tuning and tables ------------------------------------------------------------------------


def adjacent(setting: str, retained: float, tokens: float, clip: str = "a") -> Row:
    cost = replace(COST, tokens=tokens)
    return replace(ROW, clip=clip, family="adjacent", setting=setting, retained=retained, cost=cost)


def test_the_cheapest_setting_is_the_one_of_fewest_tokens_that_retains_enough() -> None:
    rows = [adjacent("1", 9, 500), adjacent("2", 9, 300), adjacent("3", 8, 50)]
    never = [adjacent("1", 8, 500, "b"), adjacent("2", 0, 400, "b")]
    assert tables.best_single([*rows, *never], tables.ADJACENT) is None
    assert tables.best_single([*rows, ROW], tables.ADJACENT) == ("adjacent", "2")
    best = cheapest(rows)
    assert best is not None
    assert (best.family, best.setting, best.total.tokens) == ("adjacent", "2", 300)
    assert cheapest([replace(ROW, dense=0, retained=0)]) is None  # nothing can be retained


def test_the_page_and_the_plot_are_drawn(tmp_path: Path) -> None:
    rows = rows_of(Dense(), ours(), ours(threshold=8), ours(sub_blocks=1), Uniform(2))
    source = {"date": "d", "commit": "c", "command": "x", "cpu": "y", "cores": 1, "threads": 1,
              "torch": "t", "seconds": 1}  # fmt: skip
    text = page.text(rows, source, [])
    assert "## eye" in text
    assert "| sub_blocks=1 | 6 | 1.0 |" in text
    assert all(line.count("|") == 0 or line.startswith("|") for line in text.splitlines())
    plot.draw(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    json.dumps(tables.summary(rows), allow_nan=False)


# --- viewers ----------------------------------------------------------------------------------


def test_a_missing_reader_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> list[Any]:
        raise FileNotFoundError("no such file: weights")

    monkeypatch.setitem(viewers.VIEWERS, "vit", missing)
    with pytest.raises(SystemExit, match="reader vit cannot be loaded: no such file"):
        viewers.load("vit")


def test_a_gated_reader_reads_what_the_gated_tower_shows(tmp_path: Path) -> None:
    model = pytest.importorskip("reading.vit.model")
    from reading.readers.vit import VitReader

    torch.manual_seed(0)
    model.save(model.Network(), tmp_path / "weights")
    reader = VitReader(tmp_path / "weights")
    planes = torch.full((3, 3, *SMALL), 128, dtype=torch.uint8)
    planes[:, 0] = texture(SMALL, 0)[0]
    planes[2, 0, :CELL, :CELL] //= 4
    footage = SimpleNamespace(
        planes=planes, matrix=MATRIX, rgb=lambda t: yuv_to_rgb(planes[t], MATRIX)
    )
    box = (0.0, 0.0, float(SMALL[1]), float(SMALL[0]))
    looks = [Look(t, box, "text") for t in range(3)]
    viewer = viewers.Gated("gated", SMALL, reader, {"context": "kept"})
    (trace,) = ours().traces(Seen(planes, 25, MATRIX))
    said = viewer.read(footage, ours(), trace, looks)
    assert said.work == pytest.approx(1 / 3, rel=0.01)  # a frame, and a cell of another
    assert said.texts[0] == said.texts[1] == reader.read(footage, looks[:1])[0]
    assert viewer.read(footage, Dense(), trace, looks).texts == reader.read(footage, looks)


def test_enough_is_what_the_tables_say() -> None:
    assert f"{score.ENOUGH:.0%}" == "99%"
