"""Ops called with arguments that nobody should give them: none may crash, hang, or go unanswered.

``python tests/hostile --calls N`` runs N calls, each of one op whose valid arguments were spoiled
in a few places; the seed says which. ``make sanitize`` does it under ASan and UBSan.
"""
