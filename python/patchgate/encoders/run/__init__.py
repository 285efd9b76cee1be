"""The engine: runs frames through a tower's layers, and computes only some of their tokens.

session.py     Session: one clip, push after push: its gate, and what the tower remembers
clip.py        takes a few frames of a clip through a tower in bounded runs: start reading here
run.py         one run through all layers; still.py replaces it if no cell is new
together.py    several streams in step: their rows pass through the tower together
packed.py      the inputs and outputs of a run; slots.py finds the row of each token's values
entering.py    which tokens enter the first layer, and their embeddings
attention.py   the attention of active tokens: to all of their frame, or to each other
waking.py      where a still token wakes: its attention output moved, so it becomes active
exchanges.py   which keys changed for a still token, whose attention is then only corrected
leaving.py     what comes after the last layer: the last norm, and pooling
pooling.py     one vector a frame, of what it shows; and what need not be computed for it
memory.py      what later frames need of earlier ones
computed.py    which cells it computes from their own pixels, and which frames it passes over
fixed.py       encodes a clip with fixed shapes; fixed_watch.py does so with a tolerance
fidelity.py    how cells that were not kept take part; work.py counts operations
"""
