"""Live video: cameras, screens and pipes that stall, jump, fail and come back.

opening.py    open_live, and what its arguments mean; beginning.py finds out what a source is
live.py       Live: an opened source, as an iterator; batch.py its batches
worker.py     the thread that reads a source, drains it, and opens it again; backoff.py how often
reader.py     addresses, devices and pipes as pictures, by PyAV; devices.py names of devices
given.py      iterators as pictures
handover.py   from that thread to whoever iterates: the newest picture, or all of them
clock.py      times that never run back, whatever the source's clock does
meter.py      what has come, was dropped, and how late; events.py what happened
"""

from .backoff import Backoff
from .batch import LiveBatch
from .events import LiveEvent
from .live import Live
from .meter import LiveStats
from .opening import open_live

__all__ = ["Backoff", "Live", "LiveBatch", "LiveEvent", "LiveStats", "open_live"]
