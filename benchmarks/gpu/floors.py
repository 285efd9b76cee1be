"""The least time a GPU can take: work counted by hand, over ceilings that it reaches at best."""

from typing import NamedTuple


class Work(NamedTuple):
    """What a call must do: every input read once, every output written once, and no operation that
    the method does not ask for. A multiply-add is two operations on a tensor core, one elsewhere.
    """

    bytes: int  # to and from memory, in whole sectors of 32 where reads are scattered
    integer: int = 0  # int32 operations
    float32: int = 0
    int8_matrix: int = 0  # on the tensor cores
    float16_matrix: int = 0  # fp16 or bf16


class Ceilings(NamedTuple):
    """What a GPU does in a second, in the units of ``Work``."""

    name: str
    bytes: float
    integer: float
    float32: float
    int8_matrix: float
    float16_matrix: float

    @classmethod
    def of(cls, name: str, multiprocessors: int, copied_bytes: float) -> "Ceilings":
        """The rates of a Hopper GPU: 64 int32 and 128 float32 lanes a multiprocessor (CUDA C++
        Programming Guide, throughput of native arithmetic), 4096 dense fp16 and 8192 int8 tensor
        operations a clock (H100 white paper), at its 1.98 GHz. Only the bandwidth is measured.
        """
        clocks = multiprocessors * 1.98e9
        return cls(name, copied_bytes, 64 * clocks, 128 * clocks, 8192 * clocks, 4096 * clocks)


# 132 multiprocessors; a device-to-device copy moved 4.3 TB/s, read and written, on 2026-10-28.
H200 = Ceilings.of("NVIDIA H200", 132, 4.3e12)


def floor(work: Work, ceilings: Ceilings = H200) -> tuple[float, str]:
    """Seconds that no version can beat, and what sets them: "bytes", "integer", .."""
    times = {unit: getattr(work, unit) / getattr(ceilings, unit) for unit in Work._fields}
    slowest = max(times, key=lambda unit: times[unit])
    return times[slowest], slowest
