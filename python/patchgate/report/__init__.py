"""What the gate did to a video, to look at: ``patchgate inspect VIDEO -o report.html``, pictures.

survey.py      the video played through the gate: originals, what the tokens rebuild, errors
history.py     some numbers of every frame; shares.py draws them
cells.py       static, moved and changed cells, drawn over a frame
picture.py     one picture of all that; overlay.py the video with the cells drawn on it (--overlay)
adjacent.py    the textbook gate that it is compared with
comparison.py  both over the whole video: errors of every frame, pictures of a few
images.py      those pictures as data URIs of bounded size
plots.py       shares and errors over time, as SVG that follows the page's colours
planned.py     what a policy looks at, over time (``patchgate plan``)
page.py        the page, from page.html.j2, page.css and page.js
"""
