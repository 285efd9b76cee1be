"""One stream's packets, and the pictures that they become.

feed.py      packets read on, gone back to, by number
entry.py     where decoding may begin
ledger.py    packets in, pictures out: which packet a picture came from, and which gave none
clock.py     the stream's clock, and time stamps on it that always rise
promises.py  what the container promises of its end, and whether it was kept
listing.py   which pictures a video shows and when, while as little as can be is decoded
"""
