"""What every test gets: poisoned memory, a fixed seed, the CUDA switch, the Triton interpreter."""

import os
import signal

import torch

# Before anything imports triton: without a GPU its kernels run in the interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
from hypothesis import HealthCheck, settings

# Started in the background (``make test &``), Ctrl-C is ignored, here and in every process that is
# started from here: tests that press it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Under nohup a hang-up is ignored, likewise by every process that is started from here. A handler
# that does nothing keeps it away from the tests and is not handed on.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

# More would spin while they wait for each other on a busy machine, and these inputs are small.
torch.set_num_threads(min(2, torch.get_num_threads()))

settings.register_profile(
    "patchgate",
    deadline=None,  # shared machines: a slow moment is no failure
    derandomize=True,  # CI and a user see the same cases
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("patchgate")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.get_closest_marker("needs_cuda") or torch.cuda.is_available():
        return
    if os.environ.get("PATCHGATE_REQUIRE_CUDA") == "1":
        pytest.fail("PATCHGATE_REQUIRE_CUDA=1, but there is no CUDA device", pytrace=False)
    pytest.skip("no CUDA device")


@pytest.fixture
def nvdec(monkeypatch: pytest.MonkeyPatch):
    """What device="cuda" opens instead of the driver's: a fake, on the CPU."""
    from fake_nvdec import FakeBackend

    fake = FakeBackend()
    monkeypatch.setattr("patchgate.decode.opening.nvdec_backend", lambda device: fake)
    return fake


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, nvdec):
    """With decoders that tell whether their stream is the current one."""
    from fake_nvdec import WatchedStream

    monkeypatch.setattr("patchgate.decode.nvdec.decoder.CudaStream", WatchedStream)
    monkeypatch.setattr(WatchedStream, "said", [])
    return nvdec


@pytest.fixture(autouse=True)
def _poison():
    """Fills uninitialised memory, so that an output a kernel forgets to write fails its test."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
