"""The commands as a user types them: names, options, help. Nothing here imports torch at once.

Each command imports what does its work, in the folder above, when it runs: ``--help`` and a wrong
option are answered without it.

program.py        the program itself, and --version
info.py           info and inspect
encode.py         tokenize and embed
corpus.py         a corpus of videos; corpus_options.py its own options
plan.py           what a policy would look at
advise.py         which settings fit a video
bench.py          what the gate saves and costs on a video
live.py           cameras, watched, and what opens here
options.py        the options that commands share, each with unit and default
tower_options.py  those of --tower
models.py         the models that --grid names
typed.py          what was typed: given options, the line, wrong usage
spreading.py      dataclasses of options as parameters of a command
usage.py          messages of wrong usage
"""

from patchgate.cli.commands import encode, corpus, info, advise, bench, plan, live  # isort: skip  # in order
from patchgate.cli.commands.program import app

__all__ = ["advise", "app", "bench", "corpus", "encode", "info", "live", "plan"]
