"""Where a video's bytes come from, and whether they may.

access.py     how a source may be opened, and how long it may keep us waiting
demuxer.py    A source's container, opened: its packets
formats.py    which of FFmpeg's formats are media files
origins.py    the kinds of sources, and how FFmpeg is given each: by memory, by descriptor
playlists.py  texts that name other files and addresses: how to tell them, and what they may name
protocols.py  which names are addresses, and what FFmpeg may open for each
readers.py    what FFmpeg reads from where it is no plain file: a pipe, and a user's file object
reasons.py    why no frame came, in words that say what to do
refusals.py   why a source could not be opened, in words that say what to do
source.py     where a video's bytes come from
streams.py    which of a file's streams is the video
waiting.py    calls that may wait for ever, made where they can be left
"""
