"""The engine: frames through a tower's layers, of which only some tokens are computed.

session.py     Session: one clip, push after push: its gate, and what the tower remembers
clip.py        a few frames of a clip, in runs of bounded size: start reading here
run.py         one run through all layers; still.py in its place where no cell is new
packed.py      what goes into a run and comes out; slots.py which row a token's values are in
entering.py    which tokens enter the first layer, and as what
attention.py   the attention of active tokens: to all of their frame, or to each other
waking.py      where a still token wakes: its attention output moved, so it becomes active
exchanges.py   which keys changed for it, so that its attention need not be computed anew
leaving.py     what comes after the last layer: the last norm, and pooling
memory.py      what later frames need of earlier ones
fixed.py       the same with shapes that are known beforehand; fixed_watch.py with a tolerance
fidelity.py    how cells that were not kept take part; work.py operations, counted
"""
