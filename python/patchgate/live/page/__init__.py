"""A page that shows cameras which are watched: their pictures, what is new in them, their numbers.

server.py   Page: serves it, in a thread of its own; page.html is what the browser gets
picture.py  a camera's last picture, with rectangles around what is new
"""

from .server import Page

__all__ = ["Page"]
