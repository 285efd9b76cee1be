"""Live video: cameras, screens and pipes that stall, jump, fail and come back.

opening.py    open_live, and what its arguments mean; beginning.py finds out what a source is
live.py       Live: an opened source, as an iterator; batch.py its batches
worker.py     the thread that reads a source, drains it, and opens it again; backoff.py how often
reader.py     addresses, devices and pipes as pictures, by PyAV; devices.py names of devices
given.py      iterators as pictures
handover.py   from that thread to whoever iterates: the newest picture, or all of them
clock.py      times that never run back, whatever the source's clock does
meter.py      what has come, was dropped, and how late; events.py what happened
watching.py   watch: many cameras with one tower; watch.py Watch, which works in rounds
camera.py     one of them: its source, its tokenizer, its numbers
budget.py     a coarser gate while tokens come late
page/         Page: a small page for a browser
store/        Segments: tokens in files of a minute each, found by time
diagnosis.py  what a source gives in a few seconds, in words
changes.py    rectangles around what changed
"""

from .backoff import Backoff
from .batch import LiveBatch
from .camera import CameraStats, Seen
from .changes import Box
from .events import LiveEvent
from .live import Live
from .meter import LiveStats
from .opening import open_live
from .store import Segment, Segments, StoredSegments, read_segments
from .watch import Watch
from .watching import watch

__all__ = ["Backoff", "Box", "CameraStats", "Live", "LiveBatch", "LiveEvent", "LiveStats", "Seen",
           "Segment", "Segments", "StoredSegments", "Watch", "open_live", "read_segments",
           "watch"]  # fmt: skip
