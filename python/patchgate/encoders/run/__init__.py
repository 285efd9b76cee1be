"""The engine: frames through a tower's layers, of which only some tokens are computed.

clip.py        a clip, some frames at a time: start reading here
run.py         such frames through all layers; still.py in its place where nothing is new
packed.py      what goes into a run and comes out; slots.py which row a token's values are in
entering.py    which tokens enter the first layer, and as what
attention.py   active tokens against all of their frame
stale.py       still tokens whose attention output moved: they become active
exchanges.py   .. and how that is found without computing it anew
memory.py      what later frames need of earlier ones
fixed.py       the same with shapes that are known beforehand; fixed_watch.py with a tolerance
fidelity.py    how cells that were not kept take part; work.py operations, counted
"""
