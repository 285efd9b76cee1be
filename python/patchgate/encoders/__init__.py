"""Vision towers that compute only what changed.

gated/         what a user holds: gated(), the towers that it returns, calibrate()
run/           the engine: some frames through a tower's layers, and what is remembered of them
families/      one file a family of towers: how its model is built
tower.py       Tower: what a family must offer
patch_grid.py  where the patches of a frame lie
"""
