"""The small vision transformer that reads pictures of 256 x 256: its model, its data, its training.

``model`` is the network, ``labels`` what it is asked to say, ``pages`` and ``scenery`` what it
learns from, ``train`` the recipe.
"""
