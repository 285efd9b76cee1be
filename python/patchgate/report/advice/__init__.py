"""``advise``: which settings fit a video, and what sampling it does at the same work.

advise.py   advise(): plays some seconds of the video once
playing.py  takes its frames through all settings side by side, and measures each
tried.py    the settings that are tried
ways.py     what is shown of each frame: the gate's cells, or the last frame that was taken
scales.py   how far that is from the truth: in pixels, or in a tower's features
found.py    Advice: a table, and a recommendation in one sentence
"""
