"""benchmarks/proof/rates.py: budgets that are met, and accuracy by frames a second."""

import pytest
import torch
from peers import CHOOSERS
from proof import rates
from proof_cases import RISING
from reading.ladder import BUDGET, LEGIBLE
from reading.merged import gated
from reading.methods import Seen, Trace
from reading.rivals import Encoded

from patchgate.gate import CHANGED


def test_a_trace_of_samples_becomes_one_of_all_frames() -> None:
    kind = torch.tensor([CHANGED, CHANGED], dtype=torch.uint8).view(2, 1, 1)
    motion = torch.zeros(2, 1, 1, 2, dtype=torch.int8)
    whole = rates.whole(Trace(kind, motion), [0, 3], 5)
    assert whole.kind.flatten().tolist() == [CHANGED, 0, 0, CHANGED, 0]
    features = torch.tensor([[[1.0]], [[2.0]]])
    shown = rates.whole(Encoded(kind, motion, features), [0, 3], 5)
    assert isinstance(shown, Encoded)
    assert shown.features.flatten().tolist() == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("method", ["patchgate", *CHOOSERS])
def test_no_method_exceeds_its_budget(method: str) -> None:
    planes = torch.randint(100, 140, (12, 3, 64, 64), dtype=torch.uint8)
    seen = Seen(planes, 12, "bt709", lambda rgb: rgb.float().flatten(2).view(12, 16, -1) - 120)
    trace = rates.thinned(method, seen, 60)
    if method == "GRT scene merge":  # 16 of every frame, which are all here
        assert trace is None
    else:
        assert trace is not None
        assert 16 <= trace.tokens <= 60


def test_ours_takes_the_finest_step_that_fits() -> None:
    torch.manual_seed(0)
    planes = torch.randint(60, 190, (1, 3, 64, 64), dtype=torch.uint8).repeat(6, 1, 1, 1)
    for t in range(1, 6):  # a worst sub-block of 10 grey levels in the first cell, then 20, 10, ..
        planes[t, :, 4:6, 6:8] += 10 * (t % 2)
        planes[t, :, 20:22, 36:38] += 20 * (t % 2)
    seen = Seen(planes, 6, "bt709")
    finest = BUDGET[0].traces(seen)[0].tokens
    assert finest == 16 + 2 * 5
    assert rates.thinned("patchgate", seen, finest).tokens == finest
    assert rates.thinned("patchgate", seen, finest - 1).tokens == 16 + 5
    assert rates.thinned("patchgate", seen, 16).tokens == 16
    assert rates.thinned("patchgate", seen, 15) is None


def test_fewer_frames_are_looked_at_before_letters_are_lost() -> None:
    torch.manual_seed(0)
    planes = torch.randint(60, 190, (6, 3, 64, 64), dtype=torch.uint8)  # nothing stays
    planes[1::2] = 255 - planes[:-1:2]
    seen = Seen(planes, 6, "bt709")
    assert rates.finest(LEGIBLE, seen, 95) is None
    trace = rates.thinned(rates.FEWER, seen, 95)  # of 96 cells: every second frame, whole
    assert trace is not None
    assert (trace.kind == CHANGED).flatten(1).sum(1).tolist() == [16, 0, 16, 0, 16, 0]
    assert rates.thinned(rates.FEWER, seen, 15) is None


def test_accuracy_and_its_rise_are_tabled() -> None:
    (row,) = rates.accuracy(RISING)
    assert (row["budget"], row["1 fps"], row["30 fps"]) == (2, 0.5, 1.0)
    (rise,) = rates.rising(RISING)
    assert rise["gain"] == 0.5
    assert rise["95 %"] == "0.500..0.500"
    (scene,) = rates.by_scene(RISING)
    assert (scene["scene"], scene["2 fps"]) == ("a", 0.6)


def test_what_the_gate_keeps_has_the_features_of_its_own_frame() -> None:
    planes = torch.randint(100, 140, (1, 3, 64, 64), dtype=torch.uint8).repeat(5, 1, 1, 1)
    planes[3, :, 16:32, 32:48] += 60
    features = torch.randn(5, 16, 7)
    tokens = gated(Seen(planes, 5, "bt709", lambda rgb: features))
    assert tokens.frame.tolist() == [0] * 16 + [3, 4]  # it comes and goes
    assert tokens.pts_seconds.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    shown = tokens.dense().flatten(1, 2)
    assert torch.equal(shown[2], features[0])
    assert torch.equal(shown[3, 6], features[3, 6])
