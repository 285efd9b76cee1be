"""Stage d: NVDEC: what is open about it, its planes against PyAV's, and what decoding costs.

A library that is missing is a fact. Films and the hashes of their planes are carried here, or made.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
from commit import ROOT
from gpu import films, nvdec
from gpu.device import Gpu
from gpu.device import here as device
from gpu.nvdec_questions import QUESTIONS

from patchgate import NvdecUnavailable
from stages import Item, NotAvailable

__all__ = ["device", "items"]

MISSING = (ImportError, NvdecUnavailable)  # a package; the driver's libraries
ROUNDS = 3
NVDEC = "NVDEC"


def items(device: Gpu) -> list[Item]:
    """The questions, then rates, which take longest."""
    streams = (1, 2) if device.rehearsed else (1, 8)
    if device.rehearsed:
        pretend()
    asked = [
        Item(question, partial(answered, question, answer), 20, NVDEC)
        for question, answer in QUESTIONS.items()
    ]
    return [
        *asked,
        *(Item(f"rates, {n} streams", partial(rates, n, device), 40, NVDEC) for n in streams),
        Item("what crosses to the host", partial(crossing, device), 30, NVDEC),
    ]


def answered(question: str, answer: Callable[[], str]) -> Iterator[dict[str, Any]]:
    """The answer to one of ``QUESTIONS``."""
    with missing_is_told():
        said = answer()
    fact: dict[str, Any] = {"answer": said, "ran": True}
    if films.TOLD[0] in said:  # it was compared
        fact |= {"case": question, "equal": "DIFFER" not in said}
    if fact.get("equal") is False:
        fact |= {"result": "failed", "why": "it is not as PyAV has it"}
    yield fact


def rates(streams: int, device: Gpu) -> Iterator[dict[str, Any]]:
    """From the file to kept patches, against decoding alone."""
    rounds = 1 if device.rehearsed else ROUNDS
    with missing_is_told():
        rows = nvdec.measured(films.film(films.LARGE), streams, rounds)
    for row in rows:
        if row["way"] == "patchgate" and not device.rehearsed:
            row |= {"target": nvdec.TARGET, "reached": row["of_decode"] >= nvdec.TARGET}
        yield row | {"ran": True}


def crossing(device: Gpu) -> Iterator[dict[str, Any]]:
    """Copies to the host and waits, in one reading. A CPU has none."""
    film = films.film(films.LARGE)
    with missing_is_told():
        yield {"frames": nvdec.ours(film)} if device.rehearsed else nvdec.watched(film)


@contextlib.contextmanager
def missing_is_told() -> Iterator[None]:
    """What is not here is no failure."""
    try:
        yield
    except MISSING as error:
        raise NotAvailable(str(error)) from error
    except OSError as error:
        if "cannot open shared object" in str(error):
            raise NotAvailable(str(error)) from error
        raise


def pretend() -> None:
    """For the rest of this process: a decoder that is none, the CPU, and a small film."""
    sys.path.append(str(ROOT / "tests" / "cases"))
    from fake_nvdec import FakeBackend

    fake = FakeBackend()
    for name in ("patchgate.decode.opening.nvdec_backend", "gpu.nvdec_questions.backend"):
        mock.patch(name, return_value=fake).start()
    mock.patch.object(nvdec, "AT", torch.device("cpu")).start()
    mock.patch.object(films, "LARGE", "b.mp4").start()
