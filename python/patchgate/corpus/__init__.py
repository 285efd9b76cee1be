"""A corpus of videos: files of tokens and an index, on one machine or a cluster.

running.py     run(): the whole job from a program
inputs.py      files, folders, patterns and manifests, as entries
planning.py    which of them are to be done, and why; estimate.py how much that is
job.py         does what the plan chose, with any engine
journal.py     what is done: it survives a SIGKILL; store.py its file, index.py the index of it
pool.py        worker processes on this machine; process.py is the inside of one
worker.py      the work with one video; writing.py writes its tokens as they are made
settings.py    what is done with every video, as JSON can carry it
names.py       the name of a video's file; provenance.py what the file says of the video
needs.py       packages that only a corpus needs
"""

from patchgate.corpus.job import Progress
from patchgate.corpus.planning import OtherSettings
from patchgate.corpus.running import run
from patchgate.corpus.store import Busy

__all__ = ["Busy", "OtherSettings", "Progress", "run"]
