"""The small vision transformer that reads pictures of 256 x 256.

``model`` is the network, ``labels`` what it says of a picture.
"""
