"""The work of ``patchgate corpus``.

work.py   the job: what it says, and its exit codes
meter.py  a progress bar, and the lines and facts of the end
"""
