"""A formula reader with real weights: pictures of formulas to LaTeX, a tower for ``gated``.

weights.py  where they come from      stem.py, encoder.py, decoder.py  the network, from its papers
tower.py    its encoder, gated        scenes.py  formulas that are written, edited, scrolled
reader.py   LaTeX from features       curve.py   what is still read, against work
"""
