"""What the CUDA ops must move and compute at least, counted by hand: see each function.

Counted are every input byte read once, every output byte written once, and the integer operations
that the method asks for, on 32 lanes at a time: a sum of four absolute byte differences is one.
"""

from gpu.floors import Work


def frame_grid(
    frames: int,
    luma: tuple[int, int],  # H', W'
    chroma: tuple[int, int],  # H'', W''
    size: tuple[int, int],  # H, W
    sample_bytes: int = 1,
) -> Work:
    """Two passes of a triangle filter: two multiply-adds an instruction across, one down."""
    operations = 0
    for (height, width), planes in ((luma, 1), (chroma, 2)):
        across = height * size[1] * _taps(width, size[1]) / 2
        down = size[0] * size[1] * _taps(height, size[0])
        operations += planes * int(across + down)
    samples = luma[0] * luma[1] + 2 * chroma[0] * chroma[1]
    moved = samples * sample_bytes + 3 * size[0] * size[1]
    return Work(frames * moved, frames * operations)


def _taps(samples: int, out: int) -> float:
    """Taps of a triangle filter on average: its support is twice the scale, and at least two."""
    return 2 * max(samples / out, 1.0)


CELL_BYTES = 1 + 2 + 4 + 8  # of the result: kind, motion, cost, source
ID_BYTES = 4  # of a pixel
LIGHT_BYTES = 4 * 4  # of a cell's plane: the least and the greatest gain, and of mid-grey
LIGHT_SAMPLES = 16  # of a cell's plane, that lines are drawn through


def gate(
    frames: int,
    cells: int,  # N
    cell: int,  # pixels a side
    changed: float,  # share of the cells that get a token
    *,
    searched: float = 0.0,  # share of the cells that search
    radius: int = 0,
    precision: int = 1,
    planes: int = 3,
    apart: bool = False,
    lit: float | None = None,  # share of the cells whose reference is weighed; None: no light
) -> Work:
    """The gate on one stream.

    For every frame the reference is read, and written with its ids where a cell changed; where
    cells have nothing to do with each other (``apart``), once a call. A test compares all planes, a
    search all candidates' luma and then the best one's planes; with a precision of 2 or 4, the luma
    of eight more a step, and the samples between pixels that these need at least.

    With light, a result says which cells are lit. A lit cell is weighed, a multiply-add a pixel,
    tested again and written, and what is kept of its light is read and written; four lines are
    drawn through its samples, five sums a sample each.
    """
    pixels = cells * cell**2
    reference = planes * pixels + int(changed * pixels) * (planes + ID_BYTES)
    moved = frames * (planes * pixels + cells * CELL_BYTES) + reference * (1 if apart else frames)
    words = cell * -(-cell // 4)  # of four bytes
    candidates = (2 * radius + 1) ** 2 - 1
    candidates += 8 * (precision.bit_length() - 1)
    search = (candidates + planes) * words + between(cell, precision)
    operations = planes * words + searched * search
    if lit is not None:
        weighed = planes * (cell**2 + 2 * LIGHT_BYTES)
        moved += frames * cells + int(frames * cells * lit * weighed)
        operations += lit * planes * (cell**2 + words + 4 * 5 * LIGHT_SAMPLES)
    return Work(moved, int(frames * cells * operations))


def between(cell: int, precision: int) -> int:
    """Dot products of four bytes, two a sample of six taps: half samples above and below each pixel
    (and three to a side), beside each, and beside each of those; for quarters, those beside each
    that is a quarter above or below.
    """
    halves = (cell + 1) * (cell + 6) + (2 * cell + 1) * (cell + 1)
    quarters = 2 * cell**2
    return 2 * ((precision > 1) * halves + (precision > 2) * quarters)


def compact(frames: int, cells: int, capacity: int) -> Work:
    """One pass: a comparison and a step of a sum a cell."""
    total = frames * cells
    return Work(total + 8 * capacity + 4 * (frames + 1) + 8, 2 * total)
