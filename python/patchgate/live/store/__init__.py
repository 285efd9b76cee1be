"""Tokens of cameras on a disk, in segments that can be searched by time while they grow.

segments.py  Segments: writes them, in a thread of its own
index.py     which stretch of time of which camera is in which file; reads them
"""

from .index import Segment, StoredSegments, read_segments
from .segments import Segments

__all__ = ["Segment", "Segments", "StoredSegments", "read_segments"]
