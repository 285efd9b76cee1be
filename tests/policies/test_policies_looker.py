"""Looking at a video again and again, and scoring its frames."""

from dataclasses import asdict, replace
from pathlib import Path

import clips
import pytest
import torch

import patchgate
from patchgate import Gate
from patchgate.gate import CHANGED
from patchgate.policies import (
    Budget,
    Cells,
    DualEncoder,
    Looker,
    Plan,
    container_frames,
    uniform,
    window,
)
from patchgate.policies.video.scorer import rgb_of

BOOK = Path(__file__).parents[2] / "examples" / "clips" / "asl_book.mkv"
SIZE = (112, 112)


def gate(**more):
    return Gate(size=SIZE, **more)


# --- looking again ------------------------------------------------------------------------------


def same(a, b):
    assert a.shape == b.shape
    assert a.pts_seconds.equal(b.pts_seconds)
    assert a.kind.equal(b.kind)
    assert a.dense().equal(b.dense())


def valid(tokens):
    """What every container promises."""
    t, h, w = tokens.shape
    own = slice(int(tokens.cu_seqlens[0]), None)
    assert tokens.frame[own].equal(
        torch.arange(t).repeat_interleave(tokens.cu_seqlens.diff().long())
    )
    assert bool((tokens.frame[: own.start] < 0).all())
    at = tokens.source[tokens.frame[own], tokens.cell[own, 0], tokens.cell[own, 1]]
    assert at.equal(torch.arange(own.start, len(tokens)))  # a token explains its own cell
    emitted = torch.zeros(t, h, w, dtype=torch.bool)
    emitted[tokens.frame[own], tokens.cell[own, 0], tokens.cell[own, 1]] = True
    assert emitted.equal(tokens.kind == CHANGED)
    assert bool((tokens.frame[tokens.source] <= torch.arange(t)[:, None, None]).all())
    assert bool((tokens.span > 0).all())


def test_a_look_at_every_frame_is_tokenize():
    looker = Looker(BOOK, gate=gate())
    plan = window(looker.frames, 0, 1.0)
    tokens = looker.look(plan)
    same(tokens, patchgate.tokenize(BOOK, gate=gate(), end=float(plan.pts[-1]) + 1e-6))
    assert tokens.reconstruct().shape[0] == len(plan)
    valid(tokens)


def test_a_second_look_decodes_what_is_missing():
    looker = Looker(BOOK, gate=gate(), chunk=1)
    first = uniform(looker.frames, Budget(frames=5))
    one = looker.look(first)
    before = looker.decoded
    same(looker.look(first), one)
    assert looker.decoded == before
    more = window(looker.frames, 1.0, 1.5)
    both = looker.look(first | more)
    valid(both)
    assert both.pts_seconds.equal((first | more).pts)
    assert looker.decoded - before <= int(more.index[-1]) + 1
    known = looker.decoded
    again = looker.look(more)
    assert looker.decoded == known
    valid(again)
    rows = torch.isin(both.pts_seconds, more.pts)
    assert again.dense().equal(both.dense()[rows])
    rows = torch.isin(both.pts_seconds, first.pts)
    assert both.dense()[rows].equal(one.dense())
    part = both.slice(1.0, 1.2)  # of what was put together
    valid(part)
    inside = torch.isin(both.pts_seconds, part.pts_seconds)
    assert part.dense().equal(both.dense()[inside])


def test_what_is_put_together_cannot_be_rebuilt_by_accident():
    looker = Looker(BOOK, gate=gate())
    looker.look(uniform(looker.frames, Budget(frames=3)))
    tokens = looker.look(uniform(looker.frames, Budget(frames=7)))
    assert tokens.layout is None
    with pytest.raises(ValueError, match="several looks"):
        tokens.reconstruct()


def test_frames_far_apart_are_reached_by_seeking(tmp_path):
    path = clips.write(tmp_path / "long.mp4", frames=200, options={"g": "20", "bf": "0"})
    looker = Looker(path, gate=Gate(size=(42, 56)), chunk=1)
    plan = Plan.of(looker.frames, torch.tensor([5, 100, 101, 199]))
    tokens = looker.look(plan)
    assert looker.decoded <= 4 + 20  # not 200
    planes = {}
    with patchgate.open_video(path) as video:
        for batch in video:
            grid = patchgate.grid.to_grid(batch, (42, 56))
            planes |= zip(batch.pts_seconds.tolist(), grid, strict=True)
    assert tokens.reconstruct()[0].equal(planes[float(plan.pts[0])])


def test_scales_of_pixel_tokens():
    looker = Looker(BOOK, gate=gate())
    half = window(looker.frames, 0, 0.3, 3, scale=2.0)
    tokens = looker.look(half)
    assert tokens.shape[1:] == (4, 4)
    mixed = half | window(looker.frames, 1, 1.3, 3)
    with pytest.raises(ValueError, match=r"plan\.parts"):
        looker.look(mixed)
    assert [looker.look(part).shape.h for part in mixed.parts()] == [4, 8]


def test_a_ratio_caps_the_gate():
    looker = Looker(BOOK, gate=gate(threshold=1))
    plan = uniform(looker.frames, Budget(frames=6))
    ratio = torch.full((6,), 0.1).double()
    ratio[0] = 1.0
    few = looker.look(plan.replaced(ratio=ratio))
    grid = Cells(8, 8)
    assert int(few.cu_seqlens[-1]) <= plan.replaced(ratio=ratio).tokens(grid)
    assert int(few.cu_seqlens.diff()[1:].max()) <= 6
    full = looker.look(plan)  # in more detail than what is known: done again
    assert len(full) > len(few)
    assert looker.look(plan.replaced(ratio=ratio)).dense().equal(full.dense())


def test_tubelets():
    settings = asdict(gate(temporal_patch=2).settings)
    looker = Looker(BOOK, gate=Gate(**settings))
    plan = uniform(looker.frames, Budget(frames=5))
    tokens = looker.look(plan)
    assert tokens.shape.T == 3
    assert tokens.pts_seconds.equal(plan.stamps(2, "first"))
    more = looker.look(plan | window(looker.frames, 1.0, 1.2))
    valid(more)
    apart = replace(plan, clip=torch.tensor([0, 1, 1, 1, 1]))
    with pytest.raises(ValueError, match="inside a tubelet"):
        looker.look(apart)


def test_plans_that_cannot_be_looked_at():
    looker = Looker(BOOK, gate=gate())
    twice = Plan.of(looker.frames, torch.tensor([3, 3]))
    with pytest.raises(ValueError, match="twice"):
        looker.look(twice)
    alien = Plan(*(torch.tensor([v]) for v in (10**6, 5.0, 1.0, 1.0, 0)))
    with pytest.raises(ValueError, match="numbers of the video's frames"):
        looker.look(alien)
    nothing = looker.look(twice.at(torch.zeros(2, dtype=torch.bool)))
    assert nothing.shape == (0, 8, 8)
    with pytest.raises(FileNotFoundError):
        Looker("no such file.mp4")
    with pytest.raises(TypeError, match=r"Looker: expected options of .*\bthreshold, .*'fps'"):
        Looker(BOOK, fps=3)
    with pytest.raises(ValueError, match="Looker: expected a gate or rules for one"):
        Looker(BOOK, gate=gate(), threshold=9)


def test_rules_given_here_are_those_of_a_gate():
    looker, want = Looker(BOOK, size=(112, 112), threshold=9), Looker(BOOK, gate=gate(threshold=9))
    plan = uniform(looker.frames, Budget(frames=4))
    assert looker.look(plan).kind.equal(want.look(plan).kind)


# --- with models ------------------------------------------------------------------------------


def siglip():
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    config = transformers.SiglipConfig(
        text_config={**small, "vocab_size": 50, "max_position_embeddings": 8,
                     "projection_size": 16},
        vision_config={**small, "image_size": 112, "patch_size": 14},
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.SiglipModel(config).eval()
    return model, transformers.SiglipImageProcessorPil(size={"height": 112, "width": 112})


def test_a_tower_looks_twice():
    model, processor = siglip()
    tower = patchgate.gated(model.vision_model, processor, threshold=4)
    looker = Looker(BOOK, tower)
    plan = uniform(looker.frames, Budget(tokens=6 * 64, grid=Cells(8, 8)))
    assert len(plan) == 6
    one = looker.look(plan)
    assert one.features.shape[1] == 16
    tokens = looker.look(plan | window(looker.frames, 2.0, 2.2))
    valid(tokens)
    rows = torch.isin(tokens.pts_seconds, plan.pts)
    assert tokens.dense()[rows].equal(one.dense())
    with pytest.raises(TypeError, match="a function from scale to one"):
        Looker(BOOK, model.vision_model)
    with pytest.raises(ValueError, match="frames of one size"):
        looker.look(plan.replaced(scale=plan.scale * 2))


def test_a_tower_for_every_scale():
    transformers = pytest.importorskip("transformers")

    def of(scale):
        side = round(8 / scale) * 14
        config = transformers.SiglipVisionConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            image_size=side, patch_size=14,
        )  # fmt: skip
        processor = transformers.SiglipImageProcessorPil(size={"height": side, "width": side})
        return patchgate.gated(transformers.SiglipVisionModel(config).eval(), processor)

    looker = Looker(BOOK, of)
    mixed = window(looker.frames, 0, 0.2, scale=2.0) | window(looker.frames, 1, 1.2)
    assert [looker.look(part).shape.h for part in mixed.parts()] == [4, 8]


def test_scores_of_a_dual_encoder():
    model, processor = siglip()
    scorer = DualEncoder(model, processor, tokenizer=lambda texts, **options: {
        "input_ids": torch.tensor([[len(text) % 50 for text in texts] * 4])}, batch=3)  # fmt: skip
    frames = container_frames(BOOK)
    few = frames.at(torch.arange(0, 40, 5))
    seen = scorer.with_features(BOOK, few)
    assert seen.feat.shape == (8, 16)
    with patchgate.open_video(BOOK, chunk=40) as video:
        rgb = rgb_of(next(iter(video)))[::5]
    pictures = [picture.permute(1, 2, 0).numpy() for picture in rgb]
    with torch.no_grad():
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        want = model.get_image_features(pixel_values=pixels).pooler_output
        ids = torch.tensor([[11, 11, 11, 11]])
        text = model.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(seen.feat, torch.nn.functional.normalize(want, dim=1))
    scored = scorer.with_scores(seen, "eleven long")
    expected = torch.nn.functional.cosine_similarity(want, text)
    torch.testing.assert_close(scored.rel.float(), expected)
    assert scorer.with_scores(seen, ids).rel.equal(scored.rel)
    with pytest.raises(ValueError, match=r"needs Frames\.feat"):
        scorer.with_scores(few, "eleven long")
    with pytest.raises(ValueError, match="needs a tokenizer"):
        DualEncoder(model, processor).with_scores(seen, "eleven long")
    with pytest.raises(TypeError, match="dual encoder"):
        DualEncoder(model.vision_model, processor)
