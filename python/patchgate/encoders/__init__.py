"""Vision towers that compute only what changed.

gated/         what a user holds: gated(), the towers that it returns, calibrate()
run/           the engine: runs frames through a tower's layers, and holds what it remembers
families/      one file for each family of towers: how its model is built
tower.py       Tower: what a family must offer
reach.py       how far what a head attends to moves the state of a token
named.py       loads a tower by a folder's or a model's name
patch_grid.py  where the patches of a frame lie
adapted.py     Adapted: a model whose modules may be wrapped by adapters, hooks, other libraries
calls.py       finds what a call of a module does besides the code of its class: hooks, adapters
projection.py  the projection that cuts pictures into patches
weights.py     checks that a tower's weights are whole, on one device and of one dtype
"""
