"""DINOv2, DINOv3, SigLIP2 and timm's towers, gated: against themselves and their own modules."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from gated_families import Case, each, gated, masked, output_of, parts_of, siglip2
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import patchgate
from patchgate.colour import rgb_to_ycbcr

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
both = pytest.mark.parametrize("context", ["kept", "full"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def case(request) -> Case:
    return request.param()


def agree(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, **EXACT)


@each
@both
def test_all_cells_kept_is_the_dense_tower(case, context):
    x = case.inputs(case.noise(4))
    sparse = gated(case.model, context=context)
    agree(output_of(sparse(**x)), case.dense(x))
    assert sparse.last_work.kept == 4 * case.cells


@each
@both
def test_hidden_states_are_those_of_the_dense_tower(case, context):
    x, sparse = case.inputs(case.noise(3)), gated(case.model, context=context)
    if case.is_timm:
        with pytest.raises(TypeError, match="a timm tower returns one tensor"):
            sparse(**x, output_hidden_states=True)
        return
    ours, theirs = (call(**x, output_hidden_states=True) for call in (sparse, case.model))
    assert len(ours.hidden_states) == 4
    for one, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def expected(case: Case, x: dict[str, Tensor], result: patchgate.GateResult) -> dict[str, Tensor]:
    """What ``context="kept"`` should show, by the tower's own modules."""
    kept = (result.kind == 2).flatten(1)  # [T, N]
    states = masked(case, x, kept)
    prefix = states.shape[1] - case.cells - case.padding
    last = [max(i for i in range(t + 1) if kept[i].any()) for t in range(len(kept))]
    shown = states[last]  # prefix and padding of the last frame that kept a cell
    cells = states[:, prefix : prefix + case.cells]
    shown[:, prefix : prefix + case.cells] = cells[kept][result.source.flatten(1)]
    pool: Any = parts_of(case.model)[2]
    if case.is_timm:
        pools_nothing = not case.model.global_pool
        return {"output": pool(shown) if pools_nothing else pool(shown)[last]}
    if pool is None:
        return {"last_hidden_state": shown}
    mask = {"attention_mask": x["pixel_attention_mask"]} if case.is_naflex else {}
    return {"last_hidden_state": shown, "pooler_output": pool(shown, **mask)[last]}


@each
@pytest.mark.parametrize("clip", [Case.flicker, Case.camera])
def test_each_cell_shows_its_source(case, clip):
    frames = clip(case, 7)
    h, w = case.shape
    planes = rgb_to_ycbcr(frames)[..., : h * 8, : w * 8]
    result = patchgate.Gate(patch=8, on_motion="reuse", scene_cut=None).push(planes)
    sparse = gated(case.model, on_motion="reuse", scene_cut=None, context="kept")
    x = case.inputs(frames)
    agree(output_of(sparse(**x)), expected(case, x, result))
    assert sparse.last_work.kept == int((result.kind == 2).sum())
    assert 0 < sparse.last_work.kept_share < 1


@each
def test_tolerance_0_is_the_dense_tower_on_the_clip_itself(case):
    """At threshold 0 nothing moves in a flicker: each cell's source patch is its own."""
    x = case.inputs(case.flicker(6))
    agree(case.gated(x, threshold=0, search_radius=0, tolerance=0), case.dense(x))


@each
@both
def test_a_still_clip_computes_its_first_frame_only(case, context):
    x, one = case.inputs(case.still(6)), case.inputs(case.still(1))
    sparse = gated(case.model, context=context)
    ours, dense = output_of(sparse(**x)), case.dense(one)
    agree(ours, {name: value.expand(6, *value.shape[1:]) for name, value in dense.items()})
    work = sparse.last_work
    assert (work.kept, work.encoded_frames, work.frames) == (case.cells, 1, 6)
    # SigLIP2's gated pooling is less work than its own; with padding it resizes positions twice.
    assert (5.8 if case.padding else 5.99) <= work.flops_ratio < 8


@each
def test_work_is_what_torch_counts_in_the_dense_tower(case):
    x, sparse = case.inputs(case.noise(3)), gated(case.model, context="kept")
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # without gradients it fails on some
        with FlopCounterMode(display=False) as counter:
            case.dense(x)
        sparse(**x)
    counted, work = counter.get_total_flops(), sparse.last_work
    if case.padding:  # which the tower computes patch by patch
        assert work.dense_flops < counted
    else:
        assert work.dense_flops == counted
    if not case.is_naflex:  # whose pooling is put together otherwise
        assert work.gated_flops == work.dense_flops


def interpolated(table: Tensor, shapes: Tensor, max_length: int) -> Tensor:
    """SigLIP2's positions ``[T, max_length, D]`` as transformers before 5.24 resizes them."""
    resized = []
    for h, w in shapes.tolist():
        picture = table.permute(2, 0, 1)[None].float()  # [1, D, S, S]
        picture = nn.functional.interpolate(picture, (h, w), mode="bilinear", antialias=True)
        cells = picture[0].flatten(1).T.to(table.dtype)  # [h * w, D]
        resized.append(torch.cat([cells, cells[:1].expand(max_length - h * w, -1)]))
    return torch.stack(resized)


def multiplied(table: Tensor, shapes: Tensor, max_length: int) -> Tensor:
    """The same as transformers from 5.24 on does it: each as a weighted sum of the whole table."""
    unit = torch.eye(table.shape[0] ** 2).unflatten(0, table.shape[:2])  # [S, S, S * S]
    weights = interpolated(unit, shapes, max_length).to(table.device)  # [T, max_length, S * S]
    return (weights @ table.flatten(0, 1).float()).to(table.dtype)


def flops(call, x: dict[str, Tensor]) -> int:
    """What torch counts in a call."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call(**x)
    return counter.get_total_flops()


@pytest.mark.parametrize("padding", [0, 3])
def test_work_counts_the_positions_of_siglip2_however_they_are_resized(monkeypatch, padding):
    case, dense, ours, works = Case(siglip2(), (24, 40), padding), [], [], []
    x = case.inputs(case.noise(3))
    for resize in (interpolated, multiplied):
        embeddings = type(case.model.embeddings)
        monkeypatch.setattr(embeddings, "resize_positional_embeddings", staticmethod(resize))
        sparse = gated(case.model, context="kept")
        agree(output_of(sparse(**x)), case.dense(x))
        dense.append(flops(case.model, x))
        ours.append(flops(sparse, x))
        works.append(sparse.last_work)
    of_dense = dense[1] - dense[0]
    assert of_dense == 3 * 2 * (15 + padding) * 16 * 24  # frames, rows, the table's, D
    assert works[1].dense_flops - works[0].dense_flops == of_dense
    assert works[1].gated_flops - works[0].gated_flops == ours[1] - ours[0] > 0


@each
@both
def test_a_stream_is_the_whole_clip(case, context):
    x = case.inputs(case.flicker(12))
    whole = gated(case.model, scene_cut=None, context=context)
    stream, ends = whole.stream(), [0, 1, 2, 7, 12]
    pushes = [{name: value[a:b] for name, value in x.items()} for a, b in pairwise(ends)]
    outputs = [output_of(stream(**push)) for push in pushes]
    joined = {name: torch.cat([out[name] for out in outputs]) for name in outputs[0]}
    agree(joined, output_of(whole(**x)))


@each
def test_names_of_parameters_are_unchanged(case):
    names = list(case.model.state_dict())
    sparse = gated(case.model)
    assert list(sparse.state_dict()) == names
    assert sparse.tower is case.model


@each
@both
def test_gradients_reach_every_weight_that_the_dense_tower_uses(case, context):
    x = case.inputs(case.noise(2))

    def used(call) -> set[str]:
        case.model.zero_grad()
        with torch.enable_grad():
            outputs = output_of(call(*x.values()) if call is case.model else call(**x))
            sum(out.pow(2).sum() for out in outputs.values()).backward()
        gradients = ((name, p.grad) for name, p in case.model.named_parameters())
        return {name for name, grad in gradients if grad is not None and grad.abs().sum() > 0}

    theirs = used(case.model)
    assert len(theirs) > 40
    assert used(gated(case.model, context=context)) == theirs


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_is_that_of_the_dense_tower(case, dtype):
    """At most twice the dense tower's own error in this dtype, against float64."""
    frames = case.noise(6)
    exact = case.dense(case.inputs(frames))
    case.model.to(dtype)
    x = case.inputs(frames)
    ours, theirs = case.gated(x, context="kept"), case.dense(x)
    for name, value in exact.items():
        assert ours[name].dtype == dtype
        errors = [(out[name].double() - value).norm() for out in (ours, theirs)]
        assert errors[0] <= 2 * errors[1]


@each
def test_autocast_is_that_of_the_dense_tower(case):
    case.model.float()
    x = case.inputs(case.noise(3))
    exact = case.dense(x)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = case.gated(x), case.dense(x)
    for name, value in exact.items():
        errors = [(out[name].float() - value).norm() for out in (ours, theirs)]
        assert errors[0] <= 2 * errors[1]
