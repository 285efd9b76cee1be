"""Long-term reference pictures: what a gate with ``memory`` remembers of each stream.

pictures.py  what is remembered of one stream, which pictures come back, and which are kept
fitting.py   which cells of a frame equal their place in a picture
turns.py     gates one stream, and does what is to be done at its turns
streams.py   gates a push of several: all at once while nothing turns
check.py     checks what a loaded state remembers

A picture that a stream remembers is what H.264 calls a long-term reference picture. The rules are
in docs/gate.md, "Pictures that come back".
"""
