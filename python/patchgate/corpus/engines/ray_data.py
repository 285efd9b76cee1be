"""Ray Data as the engine of a job: the same tasks, workers and files, on one machine or a cluster.

Rows are videos, or spans of long ones, and never frames: what goes through Ray's object store is a
few hundred bytes a video. Resuming is the journal's, as with the pool.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from patchgate.corpus.engines.pool import WorkerFailed
from patchgate.corpus.engines.units import Result, Unit, Units
from patchgate.corpus.journal import Task
from patchgate.corpus.needs import needed

_WAVE = 10_000  # tasks that are in Ray's hands at once: the job's memory does not grow with more
# Ray's share of a CPU for a worker. Ray counts whole CPUs, and a dataset whose actors take all of
# them waits for ever for one to start its other operators on.
_CPUS = 0.5


class RayWorker:
    """A worker in an actor of Ray Data: rows of JSON in, rows of JSON out. It never raises, because
    an actor's exception would end the whole job.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        import torch

        from patchgate.corpus.settings import Settings
        from patchgate.corpus.worker import Worker

        settings = Settings.from_json(config["settings"])
        torch.set_num_threads(settings.torch_threads)
        self._worker, self._failed = None, ""
        try:
            self._worker = Worker(config["folder"], settings, config["model"])
        except Exception as error:  # of the tower; every task tells it
            self._failed = str(error) or type(error).__name__

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Does the units of a batch."""
        came = [self._do(json.loads(str(told))) for told in batch["told"]]
        return {"key": batch["key"], "came": [json.dumps(each) for each in came]}

    def _do(self, told: dict[str, Any]) -> Result:
        if self._worker is None:
            return {"cannot_begin": self._failed}
        return self._worker.do(told)


class RayEngine:
    """Does tasks by Ray Data. Use it in a ``with`` statement, which ends a Ray that it began.

    Args:
        workers: how many actors there are.
        config: what every worker gets before its first task. Its folder, and the videos, must be
            seen by all nodes under the same paths.
        address: of a cluster, such as ``auto`` or ``ray://host:10001``; None: Ray runs here.
        gpus: GPUs of each actor; a share, such as 0.5, puts two on one.
        asked: is called after each result; if it returns True, no other is waited for.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(
        self,
        workers: int,
        config: Mapping[str, Any],
        *,
        address: str | None = None,
        gpus: float = 0,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ray = needed("ray", "--engine ray", "data")
        self._workers, self._config, self._gpus = workers, config, gpus
        self._address, self._asked = address, asked
        self._units = Units(Path(config["folder"]))
        self._began = False

    def __enter__(self) -> Self:
        if not self._ray.is_initialized():
            # Its progress bars would break ours.
            self._ray.init(address=self._address, include_dashboard=False, log_to_driver=False,
                           configure_logging=False)  # fmt: skip
            self._began = True
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._began:
            self._ray.shutdown()

    def results(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Yields each task with its result, as they are finished.

        Long videos are told by the first pass over them, and their spans done by the next one.

        Raises:
            WorkerFailed: a worker could not begin.
        """
        left = iter(tasks)
        units: list[Unit] = []
        while not self._asked():
            units += [self._units.whole(task) for task in islice(left, _WAVE - len(units))]
            if not units:
                return
            following: list[Unit] = []
            for unit, came in self._wave(units):
                more, result = self._units.came(unit, came)
                following += more
                if result is not None:
                    yield unit.task, result
                if self._asked():
                    return
            units = following

    def _wave(self, units: list[Unit]) -> Iterator[tuple[Unit, Result]]:
        rows = [{"key": key, "told": json.dumps(unit.told)} for key, unit in enumerate(units)]
        # A block a row: a result comes when its video is done, and not when a block of them is.
        dataset = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            RayWorker,
            fn_constructor_args=(dict(self._config),),
            batch_size=1,
            compute=self._ray.data.ActorPoolStrategy(size=min(self._workers, len(rows))),
            num_cpus=_CPUS,
            num_gpus=self._gpus or None,
        )
        for row in dataset.iter_rows():
            came = json.loads(str(row["came"]))
            if "cannot_begin" in came:
                raise WorkerFailed(came["cannot_begin"])
            yield units[int(row["key"])], came
