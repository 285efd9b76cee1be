"""One stream's packets, and the pictures that they become.

feed.py      reads packets, numbers them, and seeks
entry.py     where decoding may begin
ledger.py    which packet each picture came from, and which packets gave none
clock.py     the stream's clock, and time stamps on it that always rise
promises.py  the end that a container promises, and whether the file has it
listing.py   which pictures a video shows and when, with as little decoding as possible
times.py     the times of the frames that an opened video gives, before they are decoded
"""
