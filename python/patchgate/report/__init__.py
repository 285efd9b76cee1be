"""Pages and pictures of what the gate did to a video (``patchgate inspect VIDEO -o report.html``).

inspected.py   patchgate.inspect: a report as an object, and what a notebook shows of it
drawing.py     draws a page or a picture of a video; facts.py the numbers of both
survey.py      plays the video through the gate: originals, rebuilt pictures, errors; earlier.py
               the pixels of tokens to which cells return
history.py     counts what the gate did to every frame; shares.py draws it
cells.py       draws static, moved and changed cells over a frame
picture.py     one picture of a few moments and of the kept share over time
overlay.py     the video with the cells drawn on it (--overlay)
numbers.py     the numbers of the plot over time, as a table and as CSV
costs.py       what the video costs a model in tokens, at several frame rates
adjacent.py    the textbook gate that patchgate is compared with
comparison.py  runs both gates over the whole video: errors of every frame, pictures of a few
images.py      these pictures as data URIs of bounded size
plots.py       shares and errors over time, as SVG that follows the page's colours
planned.py     draws when a policy looks (``patchgate plan``)
page.py        the page, made of page.html.j2, page.css and page.js
advice/        which settings fit a video, beside sampling its frames
"""
