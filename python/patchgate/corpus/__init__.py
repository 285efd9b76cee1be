"""A corpus of videos: files of tokens and an index, on one machine or a cluster.

running.py     run(): the whole job from a program
opened.py      open(): a corpus to read; dataset.py spans of it, for training
tokenizer.py   Tokenizer: the worker as a class for the engines of others
inputs.py      files, folders, patterns and manifests, as entries
planning.py    which of them are to be done, and why; estimate.py how much that is
job.py         does what the plan chose, with any engine
journal.py     what is done: it survives a SIGKILL; store.py its file, index.py the index of it
engines/       what does the tasks: processes on this machine, or Ray Data
worker.py      the work with one video; writing.py writes its tokens as they are made
spans.py       where long videos are cut, and how their spans are joined
forms/         the forms in which tokens are saved
settings.py    what is done with every video, as JSON can carry it
names.py       the name of a video's file; provenance.py what the file says of the video
needs.py       packages that only a corpus needs
"""

from patchgate.corpus.dataset import TokenSpans
from patchgate.corpus.job import Progress
from patchgate.corpus.opened import Corpus, Video, open
from patchgate.corpus.planning import OtherSettings
from patchgate.corpus.running import run
from patchgate.corpus.store import Busy
from patchgate.corpus.tokenizer import Tokenizer

__all__ = [
    "Busy",
    "Corpus",
    "OtherSettings",
    "Progress",
    "TokenSpans",
    "Tokenizer",
    "Video",
    "open",
    "run",
]
