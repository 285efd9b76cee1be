"""Clips spread over processes of one thread each."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch
from rich.progress import track

Task = TypeVar("Task")


def spread(
    of: Callable[[Task], list[Any]], tasks: Sequence[Task], processes: int, doing: str
) -> Iterator[Any]:
    """Rows of all tasks, in their order. ``of`` must be a function of a module."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        waiting = [pool.submit(of, task) for task in tasks]
        try:
            for done in track(waiting, doing):
                yield from done.result()
        finally:
            pool.shutdown(cancel_futures=True)  # of no use once one has failed
