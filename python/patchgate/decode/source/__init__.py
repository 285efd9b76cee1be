"""Where a video's bytes come from, and which sources are allowed.

access.py     how a source may be opened, and how long it may take
demuxer.py    a source's container, opened: its packets
formats.py    which of FFmpeg's formats are media files
names.py      names in messages, without passwords
origins.py    the kinds of sources, and how FFmpeg gets each: by memory, by descriptor, by address
playlists.py  texts that name other files and addresses: finds and checks them
protocols.py  which names are addresses, and which protocols FFmpeg may use for each
readers.py    file objects for FFmpeg: of a pipe, and of a user's file object
reasons.py    errors for sources without a frame
refusals.py   errors for sources that cannot be opened
source.py     a source that can be opened several times
streams.py    which of a file's streams is the video
waiting.py    calls that may never return, in a thread that can be abandoned
"""
