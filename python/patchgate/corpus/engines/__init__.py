"""What does the tasks of a job: the same ones, with the same files.

pool.py      worker processes on this machine; process.py is the inside of one
ray_data.py  actors of Ray Data
units.py     what a worker does at once: a video, a span of a long one, or the joining of its spans
"""
