"""The work with one video: its file of tokens, and the row that says what came of it."""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from patchgate._ops.library import build_info
from patchgate.beside import is_full, scratch_beside
from patchgate.corpus.forms import form_of
from patchgate.corpus.names import SUFFIX
from patchgate.corpus.provenance import about, sha256_of
from patchgate.corpus.settings import Settings
from patchgate.corpus.spans import cuts, join
from patchgate.corpus.writing import TokenWriter
from patchgate.decode import DecodeWarning, Video, open_video
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.named import load_tower
from patchgate.gate import CHANGED
from patchgate.pipeline import token_chunks
from patchgate.pipeline.fitting import fitting_gate
from patchgate.pipeline.frames import until_used_up

_OF_A_RESULT = (
    "status", "error", "warnings", "sha256", "frames", "begin_seconds", "seconds", "fps",
    "cells_high", "cells_wide", "tokens", "kept_share", "features", "dtype", "bytes", "model",
    "version", "took_seconds", "full_disk",
)  # fmt: skip


class Worker:
    """Turns one video after the other into a file of tokens. No fault of a video raises.

    Args:
        folder: the corpus's folder.
        settings: what is done with every video.
        model: how the index calls the tower; None: as the settings do.
        tower: a tower that is loaded already; None: that of the settings.
        check: is called before every chunk; if it raises, so does the work.

    Raises:
        ImportError, ValueError: the tower cannot be loaded.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Settings,
        model: str | None = None,
        tower: GatedTower | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._settings, self._check = Path(folder), settings, check
        self._model = model or settings.tower
        self._form = form_of(settings.save_as)
        self._form.check()
        self._tower = tower
        if tower is None and settings.tower is not None:
            self._tower = load_tower(
                settings.tower, settings.gate, dtype=settings.dtype,
                tolerance=settings.tolerance, device=settings.device,
            )  # fmt: skip
        given = None if self._tower is not None else settings.new_gate()
        self._gate = fitting_gate(self._tower, given, None, {})

    def do(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Tokenizes a video, and returns the columns of its row in the index.

        Args:
            task: ``path``; ``id``; ``file``, that of its tokens, below the folder. And, if they are
                there: ``start`` and ``end`` in seconds; ``replace``, whether the file may be there;
                ``sha256``: the status of a video with this hash is ``same``, and nothing is done.
                ``units.py`` makes tasks of spans, and those that join them.

        Returns:
            The columns. The status may be ``split``, too: the video is long, and ``cuts`` says
            where it is to be cut.
        """
        begin = time.perf_counter()
        result: dict[str, Any] = dict.fromkeys(_OF_A_RESULT)
        result |= {"model": self._model, "version": str(build_info()["version"])}
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                result |= self._done(task)
            except Exception as error:  # any fault of a video, a codec or a library
                result |= {"status": "failed", "error": _reason(error)}
                result["full_disk"] = is_full(error)
        said = [" ".join(str(each.message).split()) for each in warned if _is_ours(each)]
        said = [*task.get("warned", ()), *said]  # of its spans
        result["warnings"] = "; ".join(dict.fromkeys(said)) or None
        result["took_seconds"] = time.perf_counter() - begin + task.get("took_seconds", 0)
        return result

    def _done(self, task: Mapping[str, Any]) -> dict[str, Any]:
        path = task["path"]
        known = task.get("sha256")
        if known and os.path.isfile(path) and sha256_of(path, self._check)[1] == known:
            return {"status": "same"}
        own, is_span = self._settings, bool(task.get("is_span"))
        start, end = task.get("start"), task.get("end")
        with open_video(
            path, device=own.device, start=start, end=end, fps=own.fps, chunk=own.chunk,
            threads=own.threads, limits=own.limits,
        ) as video:  # fmt: skip
            if is_span:
                target = self._folder / task["file"]
                target.parent.mkdir(exist_ok=True)
                return self._written(video, target, {}, True)
            parts = [self._folder / file for file in task.get("join", ())]
            if not parts and (found := cuts(path, video, own, start, end)):
                return {"status": "split", "cuts": found}
            told = about(path, video, self._told(task), self._check)
            columns = {"status": "ok", "sha256": told.get("video_sha256"),
                       "fps": float(told["fps"]) if "fps" in told else None}  # fmt: skip

            def make(target: Path, replace: bool) -> dict[str, Any]:
                if parts:
                    return join(parts, target, told, replace, self._check)
                return self._written(video, target, told, replace)

            return columns | self._placed(task, make)

    def _told(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the settings for the file's metadata; docs/token-file.md lists them."""
        own = self._settings
        told = {"gate": asdict(self._gate.settings), "start": task.get("start"),
                "end": task.get("end"), "fps": own.fps, "stream": None}  # fmt: skip
        if self._tower is not None:
            fidelity = {name: str(value) if value == float("inf") else value
                        for name, value in asdict(self._tower.fidelity).items()}  # fmt: skip
            told |= {"tower": self._model, "dtype": own.dtype, "fidelity": fidelity}
        return told

    def _placed(
        self, task: Mapping[str, Any], make: Callable[[Path, bool], dict[str, Any]]
    ) -> dict[str, Any]:
        """Makes a video's file of tokens in its place; or beside it, and then in another form."""
        target, replace = self._form.place(self._folder, task["file"]), bool(task.get("replace"))
        if self._form.exact:
            return make(target, replace)
        with scratch_beside(target) as scratch:
            exact = scratch / f"tokens{SUFFIX}"
            result = make(exact, False)
            saved = self._form.save(exact, str(task["id"]), self._folder, task["file"], replace)
        return {**result, **saved}

    def _written(
        self, video: Video, target: Path, told: Mapping[str, str], replace: bool
    ) -> dict[str, Any]:
        cells, kept, ends = 0, 0, [0.0, 0.0]
        with TokenWriter(target, video, self._tower, self._gate, told,
                         saved=self._settings.saved, replace=replace) as writer:  # fmt: skip
            made = token_chunks(video, writer.gate, None, writer.features)
            for chunk in until_used_up(made):
                self._check()
                writer.add(chunk)
                if not cells and len(chunk.kind):
                    ends[0] = float(chunk.pts_seconds[0])
                cells += chunk.kind.numel()
                kept += int((chunk.kind == CHANGED).sum())
                if len(chunk.kind):
                    ends[1] = float(chunk.pts_seconds[-1] + chunk.duration_seconds[-1])
            if not writer.out.frames:
                raise ValueError("no frame there to be looked at")
            written = writer.out.finish(self._check)
        height, width = writer.gate.size or (0, 0)
        cell = writer.gate.settings.cell
        return {
            "status": "ok",
            "frames": writer.out.frames,
            "begin_seconds": ends[0],
            "seconds": ends[1] - ends[0],
            "cells_high": height // cell,
            "cells_wide": width // cell,
            "tokens": writer.out.tokens,
            "kept_share": kept / cells,
            "features": writer.width,
            "dtype": str(writer.dtype).removeprefix("torch."),
            "bytes": written.stat().st_size,
        }


def _is_ours(warned: warnings.WarningMessage) -> bool:
    """Whether a warning is about the video, and not one that a library gives once a process."""
    ends = "more tokens than there are numbers" in str(warned.message)  # of ``until_used_up``
    return ends or issubclass(warned.category, DecodeWarning)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return f"not enough memory ({said})"
    return said if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {said}"
