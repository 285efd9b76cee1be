"""What is done with a damaged file. A verdict that begins with ``fine`` or ``refused`` is right."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from gate_videos import pan
from gated_cases import MEAN, STD, normalised, tower

import patchgate
from fuzz.mutate import mutated
from fuzz.seeds import MERGED, Seeds

SEED = 20_261_130
_REFUSALS = (ValueError, OSError, patchgate.DecodeError)  # with words for a user
_FRAMES = 40  # of a damaged video that are looked at
_COMMANDS = ("info", "tokenize", "inspect", "plan")
_WORDS = (
    "--size", "28", "--size", "0", "--threshold", "-1", "--threshold", "8", "--fps", "2", "--fps",
    "nan", "--start", "0.2", "--start", "-5", "--end", "0.3", "--end", "1e300", "--chunk", "1",
    "--json", "--patch", "7", "--merge", "3", "--policy", "uniform", "--policy", "f2c", "--tokens",
    "64", "--tokens", "0", "--frames", "4", "--no-chroma", "--noise", "adaptive", "--overlay",
    "--max-age", "2", "-o", "out.safetensors", "-o", "out.html", "-o", ".", "--nonsense", "",
)  # fmt: skip


class Targets:
    """Cases by number, over some seeds."""

    def __init__(self, seeds: Seeds, folder: Path) -> None:
        self._folder = folder
        self._files = {path: path.read_bytes() for kind in seeds for path in kind}
        self._seeds = seeds
        stream = patchgate.gated(tower("siglip"), mean=MEAN, std=STD, threshold=4)
        self._stream, self._next = stream, normalised(pan((32, 32), 2, c=3, step=(1, 0)))
        self._kinds: tuple[tuple[int, Callable[[np.random.Generator, int], str]], ...] = (
            (12, self.video), (4, self.tokens), (2, self.state), (2, self.command),
        )  # fmt: skip

    def run(self, case: int) -> str:
        """One case; raises or ends the process where it found a fault."""
        chance = np.random.default_rng([SEED, case])
        warnings.simplefilter("ignore")
        pick = case % sum(share for share, _ in self._kinds)
        for share, target in self._kinds:
            if pick < share:
                return f"{target.__name__}: {target(chance, case)}"
            pick -= share
        raise AssertionError

    def damaged(self, paths: list[Path], chance: np.random.Generator) -> tuple[Path, bytes]:
        """One of the files, and its damaged content."""
        path, other = (paths[int(chance.integers(0, len(paths)))] for _ in range(2))
        data, head = self._files[path], 0
        if path.suffix == ".safetensors" and chance.integers(0, 4):
            head = 8 + int.from_bytes(data[:8], "little")  # else most of it is not even a file
        return path, data[:head] + mutated(data[head:], self._files[other], chance)

    def video(self, chance: np.random.Generator, case: int) -> str:
        """Decode and gate, given as bytes, as a file object or by its path."""
        path, data = self.damaged(self._seeds.videos, chance)
        way = int(chance.integers(0, 3))
        source = data if way == 0 else io.BytesIO(data) if way == 1 else self._placed(path, data)
        start = float(chance.uniform(0, 0.4)) if chance.integers(0, 4) == 0 else None
        gate = patchgate.Gate(size=(28, 42))
        frames = 0
        try:
            with patchgate.open_video(source, start=start, chunk=4, threads=1) as video:
                for batch in islice(video, _FRAMES // 4):
                    gate.push(batch)
                    frames += len(batch)
        except _REFUSALS as error:
            return _refusal(error)
        return "fine"

    def tokens(self, chance: np.random.Generator, case: int) -> str:
        """Load, and if it loads, everything that a container offers."""
        path, data = self.damaged(self._seeds.tokens, chance)
        try:
            tokens = patchgate.VideoTokens.load(self._placed(path, data))
        except _REFUSALS as error:
            return _refusal(error)
        tokens.dense()
        if tokens.layout is not None:
            tokens.reconstruct()
        begin = float(tokens.pts_seconds[0]) if tokens.shape.T else 0.0
        with contextlib.suppress(ValueError):  # features that are not finite have no mean
            tokens.slice(begin, begin + 0.1)
            patchgate.merge(tokens, ratio=0.5)
        return "fine"

    def state(self, chance: np.random.Generator, case: int) -> str:
        """Restore a stream, and let it go on, whether it took the state or not."""
        path, data = self.damaged(self._seeds.states, chance)
        merges, verdict = path.stem == "merging", "fine"
        stream = patchgate.MergeStream(**MERGED) if merges else self._stream.stream()
        try:
            stream.restore(self._placed(path, data))
        except _REFUSALS as error:
            verdict = _refusal(error)
        if merges:
            stream.flush()
            return verdict
        with torch.no_grad():
            stream(self._next)
        return verdict

    def command(self, chance: np.random.Generator, case: int) -> str:
        """A command line of words that belong together or not, on a whole or a damaged file."""
        path, data = self.damaged(self._seeds.videos, chance)
        if chance.integers(0, 2):
            data = self._files[path]
        words = [_COMMANDS[int(chance.integers(0, len(_COMMANDS)))], str(self._placed(path, data))]
        for _ in range(int(chance.integers(0, 4))):
            at = int(chance.integers(0, len(_WORDS)))
            words += _WORDS[at : at + int(chance.integers(1, 3))]
        os.chdir(self._folder)
        said = io.StringIO()
        sys.argv = ["patchgate", *words]
        code: object = 0
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                _main()
        except SystemExit as end:
            code = end.code
        if "Traceback" in said.getvalue() or code not in (0, 1, 2, None):
            raise AssertionError(f"{words}: exit status {code}: {said.getvalue()[-1500:]}")
        return f"fine, exit status {code or 0}"

    def _placed(self, path: Path, data: bytes) -> Path:
        """The file beside those that it may name, under a name of its own kind."""
        placed = self._folder / f"damaged{os.getpid()}{path.suffix}"
        placed.write_bytes(data)
        return placed


def _main() -> None:
    from patchgate.cli import main

    main()


def _refusal(error: Exception) -> str:
    """Words are owed; FFmpeg's own errors are not ours."""
    if type(error).__module__.startswith("av"):
        raise AssertionError(f"a raw error of FFmpeg: {error!r}") from error
    if not str(error).strip():
        raise AssertionError(f"no words: {error!r}") from error
    return f"refused, {type(error).__name__}"
