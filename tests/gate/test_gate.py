"""The gate against its oracle and the textbook; chunks, streams, resets; what ``source`` means."""

from typing import Any

import pytest
import torch
from gate_oracle import Oracle
from gate_states import assert_same
from gate_videos import any_map, any_video, busy_video, gate_settings, grids, pan, with_object
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild import CHANGED, MOVED
from torch import Tensor

from patchgate import Gate, GateResult

BUSY: dict[str, Any] = {  # every rule on
    "patch": 8, "search_radius": 4, "max_age": 5, "hysteresis": 0.5, "noise": "adaptive",
}  # fmt: skip


def joined(results: list[GateResult], dim: int = 0) -> GateResult:
    return GateResult(*(torch.cat(parts, dim) for parts in zip(*results, strict=True)))


@given(st.data())
@settings(max_examples=150)
def test_the_gate_equals_its_oracle(data: st.DataObject) -> None:
    config = data.draw(gate_settings())
    h, w = data.draw(grids(config))
    p, seed = config["patch"] * config["merge"], data.draw(st.integers(0, 10**6))
    video = any_video((h * p, w * p), data.draw(st.sampled_from([1, 3])), seed)
    video = video[: len(video) // 2 * 2]
    factors = any_map(h, w, seed) if data.draw(st.booleans()) else None
    assert_equals_oracle(config, video, factors)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_the_gate_equals_its_oracle_on_larger_grids(seed: int) -> None:
    on_motion = ("camera", "reuse", "encode")[seed % 3]
    config = BUSY | {
        "on_motion": on_motion,
        "temporal_patch": 1 + seed % 2,
        "merge": 1 + seed // 7 % 2,
        "motion_precision": (1, 2, 4)[seed // 3 % 3],
        "illumination": ("global", None)[seed // 4 % 2],
    }
    video = any_video((4 * 16, 5 * 16), 1 + 2 * (seed // 2 % 2), seed)
    h, w = (side // (8 * config["merge"]) for side in video.shape[-2:])
    factors = any_map(h, w, seed) if seed % 5 == 0 else None
    assert_equals_oracle(config, video[: len(video) // 2 * 2], factors)


def assert_equals_oracle(config: dict[str, Any], video: Tensor, factors: Tensor | None) -> None:
    result = Gate(**config).push(video, factors)
    frames = Oracle(**config).push(video.numpy(), None if factors is None else factors.numpy())
    assert len(frames) == len(result.kind)
    for t, frame in enumerate(frames):
        for name in ("kind", "motion", "cost", "source", "weights", "lit"):
            got, expected = getattr(result, name)[t].long(), torch.tensor(getattr(frame, name))
            assert torch.equal(got, expected), (t, name)
        assert (bool(result.is_key[t]), int(result.limit[t])) == (frame.is_key, frame.limit)


@given(st.sampled_from([0, 1, 2.7, 4, 25.5]), st.integers(0, 10**6))
def test_without_its_extras_it_is_the_textbook_closed_loop(threshold: float, seed: int) -> None:
    video = any_video((28, 42), 3, seed)
    gate = Gate(threshold, search_radius=0, sub_blocks=1, chroma=False, scene_cut=None)
    luma = video[:, 0].view(-1, 2, 14, 3, 14).transpose(2, 3).double()  # [T, 2, 3, 14, 14]
    last = luma[0].clone()  # every cell as last encoded
    expected = [torch.ones(2, 3, dtype=torch.bool)]
    for frame in luma[1:]:
        expected.append((frame - last).abs().sum((2, 3)) > threshold * 14 * 14)
        last[expected[-1]] = frame[expected[-1]]
    assert torch.equal(gate.push(video).kind == CHANGED, torch.stack(expected))


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
def test_any_chunking_gives_the_same_output(on_motion: str, chunk: int, f: int) -> None:
    config = BUSY | {"on_motion": on_motion, "temporal_patch": f}
    video = busy_video(0, 74)
    whole = Gate(**config).push(video)
    gate = Gate(**config)
    parts = []
    for at in range(0, len(video), chunk):
        parts += [gate.push(video[at : at + chunk]), gate.push(video[:0])]
    assert_same(joined(parts), whole)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.sampled_from([1, 2]))
def test_any_split_with_empty_pushes_and_a_flush_gives_the_same_output(
    lengths: list[int], f: int
) -> None:
    gate, video = Gate(**BUSY, temporal_patch=f), busy_video(1, 80)[: sum(lengths) + 1]
    parts = [gate.push(part) for part in video.split([*lengths, 1])]
    video = torch.cat([video, video[len(video) // f * f :]])  # an odd last frame once more
    assert_same(joined([*parts, gate.flush()]), Gate(**BUSY, temporal_patch=f).push(video))


@pytest.mark.parametrize("f", [1, 2])
def test_streams_in_a_batch_are_the_streams_alone(f: int) -> None:
    videos = torch.stack([busy_video(seed) for seed in range(5)])
    factors = any_map(3, 4, 0)
    together = Gate(**BUSY, temporal_patch=f)
    parts = joined([together.push(chunk, factors) for chunk in videos.split(6, 1)], 1)
    for s, video in enumerate(videos):
        alone = Gate(**BUSY, temporal_patch=f).push(video, factors)
        assert_same(GateResult(*(tensor[s] for tensor in parts)), alone)


def test_one_stream_keeps_its_leading_dimension() -> None:
    result = Gate(patch=8).push(busy_video(0)[None])
    assert result.kind.shape == (1, 20, 3, 4)
    assert result.motion.shape == (1, 20, 3, 4, 2)
    assert result.is_key.shape == result.limit.shape == (1, 20)


@pytest.mark.parametrize("which", [[1], torch.tensor([1]), torch.tensor([False, True, False])])
def test_a_reset_stream_starts_anew_and_the_others_go_on(which: Any) -> None:
    videos = torch.stack([busy_video(seed) for seed in range(3)])
    gate = Gate(**BUSY)
    gate.push(videos[:, :13])
    gate.reset(which)
    after = gate.push(videos[:, 13:])
    for s, video in enumerate(videos):
        expected = Gate(**BUSY).push(video[13:])
        if s != 1:
            expected = GateResult(*(tensor[13:] for tensor in Gate(**BUSY).push(video)))
        assert_same(GateResult(*(tensor[s] for tensor in after)), expected)


def test_a_reset_gate_is_a_new_gate_even_for_another_size() -> None:
    gate = Gate(**BUSY, temporal_patch=2)
    gate.push(busy_video(0, 7))
    gate.reset()
    other = any_video((16, 16), 1, 3)[:4]
    assert_same(gate.push(other), Gate(**BUSY, temporal_patch=2).push(other))


def test_an_odd_frame_waits_for_its_partner_and_flush_repeats_it() -> None:
    video = busy_video(2, 7)
    gate = Gate(**BUSY, temporal_patch=2)
    assert gate.push(video[:1]).kind.shape == (0, 3, 4)
    assert gate.push(video[1:]).kind.shape[0] == 3
    assert gate.flush().kind.shape == (1, 3, 4)
    assert gate.flush().kind.shape == (0, 3, 4)  # nothing waits any more


def test_the_frame_that_waits_is_a_copy() -> None:
    video = busy_video(3, 4)
    expected = Gate(patch=8, temporal_patch=2).push(video)
    gate, buffer = Gate(patch=8, temporal_patch=2), video[:3].clone()
    first = gate.push(buffer)
    buffer.zero_()  # a decoder uses its buffer again
    assert_same(joined([first, gate.push(video[3:])]), expected)


def test_pushes_in_and_out_of_inference_mode_are_the_same_stream() -> None:
    video, gate = busy_video(0), Gate(**BUSY, temporal_patch=2)
    with torch.inference_mode():
        first = gate.push(video[:7])
    second = gate.push(video[7:12])
    with torch.inference_mode():
        third = gate.push(video[12:])
    assert_same(joined([first, second, third]), Gate(**BUSY, temporal_patch=2).push(video))
    gate.reset([0])
    assert bool(gate.push(video[:2]).is_key[0])


def simulated_sources(kind: Tensor, motion: Tensor, p: int) -> Tensor:
    """``source`` from kind and motion alone, by a plane of token ids per pixel."""
    t, h, w = kind.shape
    ids, count = torch.full((h * p, w * p), -1), 0
    out = torch.empty((t, h, w), dtype=torch.int64)
    for i in range(t):
        old = ids.clone()
        for y, x in torch.cartesian_prod(torch.arange(h), torch.arange(w)).tolist():
            block = ids[y * p : y * p + p, x * p : x * p + p]
            if kind[i, y, x] == CHANGED:
                block[...] = count
                count += 1
            if kind[i, y, x] == MOVED:
                top, left = y * p + int(motion[i, y, x, 0]), x * p + int(motion[i, y, x, 1])
                block[...] = old[top : top + p, left : left + p]
            out[i, y, x] = block.flatten().bincount().argmax()  # ties: the first, so the smallest
    return out


@pytest.mark.parametrize("step", [(0, 3), (1, 1), (-2, 3), (0, 4)])
def test_source_is_the_id_with_most_pixels_numbered_in_raster_order(step: tuple[int, int]) -> None:
    video = with_object(pan((48, 64), 30, step), (3, 0))
    result = Gate(patch=8, on_motion="reuse").push(video)
    assert (result.kind == MOVED).float().mean() > 0.4
    assert torch.equal(result.source, simulated_sources(result.kind, result.motion, 8))
    emitted = result.source[result.kind == CHANGED]
    assert torch.equal(emitted, torch.arange(len(emitted)))


def test_a_long_slow_pan_keeps_sources_beside_what_they_show() -> None:
    """A rule by cells would lose a cell in the long run; by pixels no source is a cell off."""
    step, p, t = 3, 8, 40
    result = Gate(patch=p).push(pan((2 * p, 12 * p), t, (0, step)))
    born, _, column = (result.kind == CHANGED).nonzero().T  # per token
    frames, columns = torch.arange(t)[:, None, None], torch.arange(12)
    shows = columns * p + frames * step  # in the world, [T, 1, 12]
    emitted = (column * p + born * step)[result.source]
    assert int((shows - emitted).abs().max()) < p


def test_repr_tells_the_settings_and_the_kept_share() -> None:
    gate = Gate(patch=8, threshold=2.5)
    assert "threshold=2.5" in repr(gate)
    assert "patch=8" in repr(gate)
    assert eval(repr(gate)).settings == gate.settings
    assert repr(gate.push(busy_video(0)[:1])) == "GateResult(kind=[1, 3, 4], kept=100.0%)"
    assert "kept=0.0%" in repr(gate.push(busy_video(0)[:0]))
