"""`patchgate inspect VIDEO -o report.html`: one page that shows a person what the gate did.

adjacent.py    the textbook gate that it is compared with
comparison.py  both over the whole video: errors of every frame, pictures of a few
images.py      those pictures as data URIs of bounded size
plots.py       shares and errors over time, as SVG that follows the page's colours
planned.py     what a policy looks at, over time (`patchgate plan`)
page.py        the page, from page.html.j2, page.css and page.js
overlay.py     the video with the cells drawn on it (--overlay)
"""
