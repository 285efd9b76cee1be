"""What every test gets: poisoned memory, a fixed seed, the CUDA switch, the Triton interpreter."""

import os

import torch

# Before anything imports triton: without a GPU its kernels run in the interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "patchgate",
    deadline=None,  # shared machines: a slow moment is no failure
    derandomize=True,  # CI and a user see the same cases
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("patchgate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    required = os.environ.get("PATCHGATE_REQUIRE_CUDA") == "1"
    for item in items:
        if item.get_closest_marker("needs_cuda"):
            item.add_marker(_absent_cuda(required))


def _absent_cuda(required: bool) -> pytest.MarkDecorator:
    reason = "no CUDA device"
    if required:
        return pytest.mark.usefixtures("missing_cuda")
    return pytest.mark.skip(reason=reason)


@pytest.fixture
def missing_cuda() -> None:
    pytest.fail("PATCHGATE_REQUIRE_CUDA=1, but there is no CUDA device")


@pytest.fixture(autouse=True)
def _poison():
    """Fills uninitialised memory, so that an output a kernel forgets to write fails its test."""
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
