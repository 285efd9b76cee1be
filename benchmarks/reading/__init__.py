"""Dense reading: what can still be read from the tokens of a video.

``clips`` renders dense videos of which everything is known, ``questions`` asks about them,
``readers`` read what a ``method`` (our gate or a peer) leaves of the video, ``curve`` draws
accuracy against tokens and work.
"""
