"""What the user's program has told torch changes nothing: devices, dtypes, modes.

``torch.set_default_device("meta")`` stands for a GPU: a tensor made there by mistake holds nothing.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gated_cases as cases
import pytest
import report_clips
import torch
from blend_cases import cut, drifting
from merge_cases import random_tokens
from torch_settings import SETTINGS, assert_same, leaves
from typer.testing import CliRunner

import patchgate
from patchgate import Gate, MergeStream, TokenChunk, VideoTokens
from patchgate.cli import app
from patchgate.language.positions import token_places, token_seconds
from patchgate.policies import (
    POLICIES,
    Budget,
    Cells,
    DualEncoder,
    Frames,
    Looker,
    Plan,
    container_frames,
    frame_statistics,
    pick,
    pool,
    spend,
    tokenize_with_statistics,
)
from patchgate.policies.video import CappedGate
from patchgate.tokens.chunk import joined, split

SIZE, BUDGET = (56, 56), Budget(frames=5, tokens=60, grid=Cells(4, 4))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_clips.lossless(tmp_path_factory.mktemp("v") / "story.mkv", report_clips.story(20))


@pytest.fixture(scope="module")
def tower() -> Any:
    model = cases.tower("siglip", torch.float32)
    return patchgate.gated(model, mean=cases.MEAN, std=cases.STD, tolerance=0.01, refresh=3)


@pytest.fixture(scope="module")
def given(video: Path, tower: Any) -> dict[str, Any]:
    """What the jobs are given, made before any default is changed."""
    n, chance = 40, torch.Generator().manual_seed(5)
    columns = {name: torch.rand(n, generator=chance) for name in ("rel", "delta", "keep", "motion")}
    feat = torch.randn(n, 6, generator=chance)
    frames = Frames(pts=[0.5 * i for i in range(n)], feat=feat, key=[i % 9 == 0 for i in range(n)],
                    sharp=columns["keep"], cut=columns["rel"] > 0.9, **columns)  # fmt: skip
    tokens = patchgate.tokenize(video, size=SIZE)
    saved = Path(tempfile.mkdtemp()) / "tokens.safetensors"
    tokens.save(saved)
    return {
        "video": video, "tower": tower, "frames": frames, "tokens": tokens, "saved": saved,
        "mergeable": random_tokens(t=15), "moved": drifting("quarters")[0],
        "pixels": cases.normalised(cases.flicker(5), torch.float32),
        "planes": cases.flicker(6)[None],
        "pictures": cases.flicker(7).permute(0, 2, 3, 1),
    }  # fmt: skip


def _policies(g: dict[str, Any]) -> dict[str, Any]:
    return {name: policy.run(g["frames"], BUDGET) for name, policy in POLICIES.items()}


def _parts(g: dict[str, Any]) -> list[Any]:
    frames, rel = g["frames"], g["frames"].need("rel")
    return [
        pick.inverse_cdf(rel, 7, power=2.0, floor=0.5), pick.inverse_cdf((rel > 0.9).double(), 9),
        pick.peaks(rel, 6), pick.basins(rel, 6), pool.at_rate(frames, 0.7),
        pool.clips(40, 3, 4), pool.key_frames(frames), spend.keyed(frames.need("key"), 2, 6),
        spend.ladder(rel[:9].argsort(), ((1, 1.0), (2, 3.3))), spend.slow_fast(3, 2, 0.3, 1.0),
        Plan(index=[1, 2], pts=[0.1, 0.2], scale=[1.0, 1.7], ratio=[0.3, 1.0], clip=[0, 0]),
    ]  # fmt: skip


def _streamed(g: dict[str, Any]) -> TokenChunk:
    tokens: VideoTokens = g["mergeable"]
    stream = MergeStream(window=4, ratio=0.6)
    rest = TokenChunk(*(getattr(tokens, name) for name in TokenChunk._fields))
    first, rest = split(rest, 7)
    done = stream.push(first)
    again = MergeStream(window=4, ratio=0.6)
    again.load_state_dict(stream.state_dict())
    return joined([*done, *again.push(rest), *again.flush()])


def _gates(g: dict[str, Any]) -> list[Any]:
    gate = Gate(patch=8, threshold=3, noise="adaptive", hysteresis=0.5, max_age=3)
    whole = [gate.push(g["planes"], threshold_map=[[0.5] * 4] * 4), gate.state_dict()]
    gate.reset([0])
    capped = CappedGate([1.0, 0.3, 0.2, 0.5, 1.0, 0.1], patch=8)
    return [*whole, gate.push(g["planes"]), capped.push(g["planes"][0])]


def _tower(g: dict[str, Any]) -> list[Any]:
    stream = g["tower"].stream()
    parts = [stream(g["pixels"][:2]).last_hidden_state, stream(g["pixels"][2:]).last_hidden_state]
    state = Path(tempfile.mkdtemp()) / "state"
    stream.save(state)
    again = g["tower"].stream()
    again.restore(state)
    third = g["tower"].stream()
    third.load_stream_state_dict(again.stream_state_dict())
    parts += [each(g["pixels"][:1]).last_hidden_state for each in (again, third)]
    return [*parts, g["tower"](g["pixels"]).pooler_output, g["tower"].last_work]


def _pushed(g: dict[str, Any]) -> list[Any]:
    parts: list[Any] = []
    for tower in (None, g["tower"]):
        first, again = (patchgate.Tokenizer(tower, fps=10) for _ in range(2))
        chunks = [first.push(picture) for picture in g["pictures"][:4]]
        again.load_state_dict(first.state_dict())
        chunks += [again.push(g["pictures"][4:]), again.flush()]
        parts += [again.joined(chunks), again.state_dict()]
    return parts


def _file(g: dict[str, Any]) -> VideoTokens:
    path = Path(tempfile.mkdtemp()) / "tokens"
    g["tokens"].save(path)
    return VideoTokens.load(path)


class _Pictures:
    """What a dual encoder of transformers looks like."""

    device = torch.device("cpu")

    def __call__(self, images: list[Any], return_tensors: str) -> dict[str, Any]:
        return {"pictures": torch.stack([torch.from_numpy(image.copy()) for image in images])}

    def get_image_features(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.float().mean((1, 2))

    def get_text_features(self, input_ids: torch.Tensor) -> torch.Tensor:
        return input_ids[:, :3].float()


def _scored(g: dict[str, Any]) -> Frames:
    pictures = _Pictures()
    encoder = DualEncoder(pictures, pictures)
    known = encoder.with_features(g["video"], container_frames(g["video"]))
    return encoder.with_scores(known, torch.tensor([3, 1, 2], device="cpu"))


def _commands(g: dict[str, Any]) -> list[Any]:
    """What the command line writes; figures of time aside."""
    folder = Path(tempfile.mkdtemp())
    for words in (
        ["tokenize", "-o", folder / "t.safetensors"],
        ["inspect", "-o", folder / "page.html", "--overlay", folder / "o.mp4"],
        ["plan", "--policy", "mgsampler", "--frames", 3, "-o", folder / "plan.html"],
    ):
        line = [words[0], str(g["video"]), "--size", "56", *(str(word) for word in words[1:])]
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, (result.output, result.exception)
    pages = [(folder / name).stat().st_size > 1000 for name in ("page.html", "plan.html", "o.mp4")]
    return [VideoTokens.load(folder / "t.safetensors"), pages]


JOBS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "open_video": lambda g: list(patchgate.open_video(g["video"], fps=7.5, start=0.2)),
    "tokenize": lambda g: patchgate.tokenize(g["video"], size=SIZE),
    "tokenize with a tower": lambda g: patchgate.tokenize(g["video"], g["tower"]),
    "advise": lambda g: [
        [(one.tokens, one.work, one.error, one.changed_error) for one in found.options]
        for found in (
            patchgate.advise(g["video"], size=SIZE),
            patchgate.advise(g["video"], g["tower"]),
        )
    ],
    "tubelets": lambda g: patchgate.tokenize(g["video"], gate=Gate(temporal_patch=2, size=SIZE)),
    "pictures": lambda g: patchgate.tokenize(g["pictures"], fps=10, size=SIZE),
    "pictures, one by one": _pushed,
    "batches of pictures": lambda g: patchgate.FrameBatch.from_bgr(g["pictures"]).rgb(),
    "a batch of tokens": lambda g: patchgate.collate([g["tokens"]] * 2).padded(),
    "inspect": lambda g: patchgate.inspect(g["video"], size=SIZE)._repr_html_(),
    "load": lambda g: VideoTokens.load(g["saved"]),
    "save": _file,
    "slice": lambda g: g["tokens"].slice(0.2, 0.7),
    "slice again": lambda g: g["tokens"].slice(0.2, 0.9).slice(0.4, 0.6),
    "dense": lambda g: g["tokens"].dense(),
    "moved cells": lambda g: [g["moved"].dense(), cut(g["moved"], 9, 15).dense()],
    "a slice of moved cells": lambda g: cut(cut(g["moved"], 5, 15), 4, 8),
    "reconstruct": lambda g: g["tokens"].reconstruct(rgb=True),
    "merge": lambda g: patchgate.merge(g["tokens"], ratio=0.5),
    "merge alike": lambda g: patchgate.merge(g["mergeable"], budget=3, per="frame", similar=True),
    "merge seconds": lambda g: patchgate.merge(g["mergeable"], budget=30, per="second", window=4),
    "MergeStream": _streamed,
    "scenes": lambda g: patchgate.scenes(g["tokens"]),
    "places": lambda g: [token_places(g["tokens"], "mean"), token_places(g["tokens"])],
    "seconds": lambda g: token_seconds(g["tokens"]),
    "gate": _gates,
    "tower": _tower,
    "policies": _policies,
    "parts of policies": _parts,
    "container_frames": lambda g: container_frames(g["video"]),
    "frame statistics": lambda g: frame_statistics(g["video"], size=SIZE),
    "statistics": lambda g: tokenize_with_statistics(g["video"], size=SIZE),
    "Looker": lambda g: Looker(g["video"], size=SIZE).look(
        Plan.of(container_frames(g["video"]), pool.uniform(20, 4), ratio=[1, 0.5, 0.3, 1])
    ),
    "scores": _scored,
    "commands": _commands,
}


@pytest.fixture(scope="module")
def plain(given: dict[str, Any]) -> dict[str, list[Any]]:
    """What each job gives where nothing was told."""
    return {}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("job", JOBS)
def test_nothing_depends_on_what_torch_was_told(
    job: str, setting: str, given: dict[str, Any], plain: dict[str, list[Any]]
) -> None:
    if job not in plain:
        plain[job] = leaves(JOBS[job](given))
    with SETTINGS[setting]():
        got = leaves(JOBS[job](given))
    assert_same(got, plain[job])
