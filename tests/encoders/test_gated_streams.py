"""Several streams in one pass through the tower, and each of them alone."""

from typing import Any

import pytest
import qwen_cases
import torch
from gated_cases import camera, flicker, noise, normalised
from stream_cases import RULES, gated
from torch import Tensor

import patchgate
from patchgate.encoders.run import together as engine
from patchgate.gather import PixelSpec
from patchgate.gather.resize import Keep

EXACT = {"atol": 1e-10, "rtol": 1e-10}


def still(t: int, seed: int) -> Tensor:
    return noise(1, seed).expand(t, -1, -1, -1)


# Cameras of every kind: still, flickering, panning, all new; some frames are missing.
CLIPS = [normalised(make(9, seed)) for seed, make in enumerate((flicker, still, camera, noise))]
PUSHES: list[list[tuple[int, int] | None]] = [
    [(0, 2), (0, 1), (0, 1), None],
    [(2, 3), (1, 2), None, (0, 3)],
    [(3, 6), (2, 5), (1, 4), (3, 4)],
    [None, (5, 6), None, None],
    [(6, 9), (6, 9), (4, 9), (4, 9)],
]


def assert_same_output(got: Any, want: Any) -> None:
    torch.testing.assert_close(got.last_hidden_state, want.last_hidden_state, **EXACT)
    torch.testing.assert_close(got.pooler_output, want.pooler_output, **EXACT)


def assert_same_state(got: Any, want: Any) -> None:
    own, other = got.stream_state_dict(), want.stream_state_dict()
    assert own.keys() == other.keys()
    for name, tensor in own.items():
        if name == "digest":  # of all bits
            continue
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, other[name], **EXACT, msg=name)
        else:
            assert tensor.equal(other[name]), name


@pytest.mark.parametrize("family", ["siglip", "clip"])
@pytest.mark.parametrize("rule", RULES)
def test_packed_streams_equal_each_stream_alone(family: str, rule: str) -> None:
    tower = gated(family, **RULES[rule])
    streams, alone = tower.stream(streams=4), [tower.stream() for _ in range(4)]
    for push in PUSHES:
        parts = [None if cut is None else CLIPS[s][slice(*cut)] for s, cut in enumerate(push)]
        outputs = streams.push(parts)
        for s, part in enumerate(parts):
            if part is None:
                assert outputs[s] is None
                continue
            assert_same_output(outputs[s], alone[s](part))
            assert vars(streams[s].last_work) == vars(alone[s].last_work)
    for s in range(4):
        assert_same_state(streams[s], alone[s])


@pytest.mark.parametrize("family", ["qwen25", "qwen3"])
def test_towers_with_windows_merged_cells_and_taps(family: str) -> None:
    spec = PixelSpec(Keep(), 0.5, 0.25, qwen_cases.P, qwen_cases.M, 2)
    tower = patchgate.gated(qwen_cases.tower(family), spec, threshold=20, tolerance=0.05)
    sessions = [_qwen_frames(tower, seed) for seed in range(3)]
    kept = [list(frames) for frames in sessions]
    packed = _chunks(tower, kept, together=True)
    single = _chunks(tower, kept, together=False)
    for got, want in zip(packed, single, strict=True):
        for (name, one), other in zip(got.tensors().items(), want.tensors().values(), strict=True):
            if one.is_floating_point():
                torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9, msg=name)
            else:
                assert one.equal(other), name


def _qwen_frames(tower: Any, seed: int) -> list[patchgate.FrameBatch]:
    random = torch.Generator().manual_seed(seed)
    side = 4 * qwen_cases.P * qwen_cases.M
    picture = torch.randint(0, 256, (3, side, side), generator=random, dtype=torch.uint8)
    frames = []
    for t in range(4):
        frame = picture.clone()
        frame[:, : side // 4, t * 3 : t * 3 + side // 4] = 255 - 20 * t
        frames.append(frame)
    pairs = [torch.stack(frames[t : t + 2]) for t in (0, 2)]
    return [patchgate.FrameBatch.from_rgb(pair, [2.0 * t, 2.0 * t + 1])
            for t, pair in enumerate(pairs)]  # fmt: skip


def _chunks(tower: Any, cameras: list[list[patchgate.FrameBatch]], together: bool) -> list[Any]:
    tokenizers = [patchgate.Tokenizer(tower) for _ in cameras]
    chunks = []
    for step in range(len(cameras[0])):
        batches = [camera[step] for camera in cameras]
        if together:
            chunks += patchgate.push_together(dict(zip(tokenizers, batches, strict=True)))
        else:
            chunks += [t.push(batch) for t, batch in zip(tokenizers, batches, strict=True)]
    return chunks


def test_a_push_that_fails_changes_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = gated("siglip", **RULES["watched"])
    streams, alone = tower.stream(streams=2), [tower.stream() for _ in range(2)]
    for s in range(2):
        alone[s](CLIPS[s][:2])
    streams.push([CLIPS[0][:2], CLIPS[1][:2]])
    before = [streams[s].stream_state_dict() for s in range(2)]
    calls, whole = [0], engine.Rowwise.together

    def breaks(self: Any, steps: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise MemoryError
        return whole(self, steps)

    monkeypatch.setattr(engine.Rowwise, "together", breaks)
    frames = [CLIPS[3][:3], CLIPS[2][:3]]
    with pytest.raises(MemoryError):
        streams.push(frames)
    for s in range(2):
        after = streams[s].stream_state_dict()
        assert all(after[name].equal(tensor) for name, tensor in before[s].items())
    for s, output in enumerate(streams.push(frames)):
        assert_same_output(output, alone[s](frames[s]))


def test_the_layers_see_all_streams_at_once() -> None:
    tower = gated("siglip", **RULES["watched"])
    seen: list[int] = []
    layer = tower.tower.vision_model if hasattr(tower.tower, "vision_model") else tower.tower
    hook = layer.encoder.layers[0].mlp.fc1.register_forward_hook(
        lambda module, inputs, output: seen.append(len(inputs[0]))
    )
    try:
        tower.stream(streams=4).push([clip[:1] for clip in CLIPS])
    finally:
        hook.remove()
    assert seen == [4 * CLIPS[0].shape[-1] ** 2 // 64]


def test_a_large_push_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_ROWS", 20)
    tower = gated("siglip", **RULES["watched"])
    outputs = tower.stream(streams=4).push([clip[:1] for clip in CLIPS])
    for clip, output in zip(CLIPS, outputs, strict=True):
        assert_same_output(output, tower.stream()(clip[:1]))


def test_gradients_reach_the_pixels_of_every_stream() -> None:
    tower = gated("siglip", **RULES["watched"])
    pixels = [CLIPS[s][:2].clone().requires_grad_() for s in (0, 2)]
    outputs = tower.stream(streams=2).push(pixels)
    sum(output.last_hidden_state.square().sum() for output in outputs).backward()
    for own in pixels:
        alone = own.detach().clone().requires_grad_()
        tower.stream()(alone).last_hidden_state.square().sum().backward()
        torch.testing.assert_close(own.grad, alone.grad, atol=1e-8, rtol=1e-8)


def test_what_can_be_pushed() -> None:
    tower = gated("siglip", context="kept")
    streams = tower.stream(streams=2)
    both = torch.stack([CLIPS[0][:2], CLIPS[3][:2]])
    want = [tower.stream()(clip) for clip in both]
    for output, other in zip(streams.push(both), want, strict=True):
        assert_same_output(output, other)
    streams.reset([1])
    first, second = streams.push({1: CLIPS[3][:2]})
    assert first is None
    assert_same_output(second, want[1])
    assert streams.push([None, None]) == [None, None]
    for wrong, error in (([CLIPS[0]], "expected frames .or None. of each of 2 streams, got 1"),
                         ({2: CLIPS[0]}, "stream: expected 0..1, got 2"),
                         ({0: CLIPS[0][:, :2]}, r"pixel_values: expected \[T, 3")):  # fmt: skip
        with pytest.raises(ValueError, match=error):
            streams.push(wrong)
    with pytest.raises(ValueError, match="streams: expected at least 1, got 0"):
        tower.stream(streams=0)
    with pytest.raises(TypeError, match="expected frames of each stream"):
        streams.push(7)
