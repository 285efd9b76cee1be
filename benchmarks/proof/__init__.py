"""The proof: every peer, every claim, side by side. ``python benchmarks/proof/run.py --help``.

``readout`` says what is read at which number of tokens, ``changing`` the same where light changes
and pictures return, ``rates`` what is read at a fixed number of tokens and more and more frames a
second, ``speed`` where the time goes, ``scaling`` what grows with what; ``page`` writes
docs/RESULTS.md from their JSON. ``reading`` has the clips, questions and readers, ``peers`` the
other methods.
"""
