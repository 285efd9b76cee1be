"""Rows and answers that are small enough to be counted by hand."""

from proof import rates
from proof.rates import Answered
from reading.methods import Dense
from reading.score import Cost, Row


def answered(method: str, rate: int, right: int, scene: str = "a") -> Answered:
    return Answered(scene, method, rate, 2, 10, right, 0)


RISING = [answered("patchgate", rate, 5 + i) for i, rate in enumerate(rates.RATES[:5])]
RISING += [answered("patchgate", 15, 9), answered("patchgate", 30, 10)]


def row(family: str, setting: str, tokens: float, retained: float, clip: str = "c") -> Row:
    cost = Cost(tokens, 2.0, 1000, 0.1, 0.1, 0.1)
    return Row("ViT", "scroll", clip, family, setting, "scroll", "what", 10, retained, 10,
               retained, cost)  # fmt: skip


ROWS = [
    row("dense", Dense.setting, 1000, 10),
    row("patchgate", "default", 200, 10),
    row("patchgate", "threshold=8", 100, 10),
    row("patchgate", "threshold=24", 50, 8),
    row("RLT", "tau=0.1", 60, 5),
    row("RLT", "tau=0.02", 150, 10),
    row("random", "share=0.001", 20, 10),
    row("EVS", "share=0.5", 500, 9),
]
