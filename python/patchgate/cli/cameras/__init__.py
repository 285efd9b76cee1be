"""The work of the commands for cameras.

live.py    watches cameras, and shows their numbers meanwhile
doctor.py  says what this machine can open, and how well a camera comes in
"""
