"""Each peer's method, written from its published definition and vectorised: one file a peer.

A peer answers one question: of a clip's ``T * h * w`` cells, which are tokens, and which token
stands for each other one? The answer is a ``Choice``:

    choice.source       [T, h, w] (or [T, N]) int64: the cell that stands for each cell, numbered
                        over the clip; a token names itself; -1: nothing stands for it
    choice.keep         the mask of tokens; choice.tokens: how many
    choice.sizes()      how many cells each stands for
    choice.shown(x)     what is known of every cell, [T, N, D], from the features of all: the
                        token's own, or (choice.mean) the mean of the cells that it stands for
    choice.token_ids    source in the packed order of tokens

``CHOOSERS`` lists those that look at pixels (before a tower) or features (after it), with the one
number that tunes each:

    for peer in CHOOSERS:
        choice = peer.choose(clip, peer.own)          # clip: a ``Clip``
    choice = at_budget(CHOOSERS["EVS"], clip, 500)    # the most tokens that are no more than 500
    at = CHOOSERS["EVS"].on(clip)                     # at(0.2), at(0.5): measured once

Where only features ``[T, N, D]`` are at hand, call the modules: what they measure, then their rule:
``evs.choose(evs.dissimilarities(features), share=0.2)``. ``ENCODERS`` lists those that work inside
a
tower: ``peer.encode(model, pixel_values, share)`` gives ``layers.Encoded``, what every cell shows
and the work it took.

Beside them: ``top_k``, a budget on any score, and ``published``, what the public code of policies
chooses. Letters: T frames, h w cells, N = h * w, D features.
"""

from peers.choice import Choice as Choice
from peers.registry import CHOOSERS as CHOOSERS
from peers.registry import ENCODERS as ENCODERS
from peers.registry import Chooser as Chooser
from peers.registry import Clip as Clip
from peers.registry import Encoder as Encoder
from peers.registry import at_budget as at_budget
