"""The reader's decoder: a transformer that writes LaTeX, a token at a time.

    self-attention, cross-attention to the encoder's features, feed-forward    arXiv 1706.03762
    norms before each part, not after                                          arXiv 2002.04745
    gated linear units in the feed-forward part                                arXiv 2002.05202
    and behind each attention ("attention on attention")                       arXiv 1908.06954

Submodules have the names of x-transformers, so that its weights fit.

Letters: B pictures, N features of a picture, L tokens so far, D features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reading.formula.encoder import WIDTH

VOCABULARY, LONGEST = 8000, 512  # tokens there are, and of a text
BEGIN, END = 1, 2
_DEPTH, _HEADS, _HEAD = 4, 8, 64
_Cache = list[tuple[Tensor, Tensor]]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        inner = _HEADS * _HEAD
        self.to_q = nn.Linear(WIDTH, inner, bias=False)
        self.to_k = nn.Linear(WIDTH, inner, bias=False)
        self.to_v = nn.Linear(WIDTH, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, 2 * WIDTH), nn.GLU())

    def lend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[B, 8, N, 64]`` of ``[B, N, D]``."""
        return _by_head(self.to_k(x)), _by_head(self.to_v(x))

    def forward(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attends from the last token ``[B, 1, D]``, which may look at all keys."""
        out = F.scaled_dot_product_attention(_by_head(self.to_q(x)), key, value)
        return self.to_out(out.transpose(1, 2).flatten(2))


def _by_head(x: Tensor) -> Tensor:
    return x.unflatten(2, (_HEADS, _HEAD)).transpose(1, 2)


class _GatedGelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, 8 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # Between the two stands a dropout, which has no weights.
        self.net = nn.Sequential(_GatedGelu(), nn.Identity(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class _Layers(nn.Module):
    """``layers``: a norm and a part each; self-attention, cross-attention, feed-forward, again."""

    def __init__(self) -> None:
        super().__init__()
        parts = [kind() for _ in range(_DEPTH) for kind in (_Attention, _Attention, _FeedForward)]
        self.layers = nn.ModuleList(nn.ModuleList([nn.LayerNorm(WIDTH), part]) for part in parts)


class _Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(LONGEST, WIDTH)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token_emb = nn.Embedding(VOCABULARY, WIDTH)
        self.pos_emb = _Positions()
        self.attn_layers = _Layers()
        self.norm = nn.LayerNorm(WIDTH)
        self.to_logits = nn.Linear(WIDTH, VOCABULARY)


class FormulaDecoder(nn.Module):
    """What comes next, given a picture's features and the tokens so far."""

    def __init__(self) -> None:
        super().__init__()
        self.net = _Net()

    @torch.no_grad()
    def write(self, features: Tensor, longest: int = LONGEST) -> list[list[int]]:
        """The most probable token each time, until all have ended.

        Args:
            features: ``[B, N, D]``.
            longest: tokens; what has not ended by then is cut off.

        Returns:
            B lists of tokens, without begin and end.
        """
        parts = self.net.attn_layers.layers
        lent = [part.lend(features) for _, part in parts[1::3]]  # of cross-attention, once
        said: _Cache = []
        token = torch.full((len(features), 1), BEGIN)
        written = []
        ended = torch.zeros(len(features), dtype=torch.bool)
        for place in range(longest):
            token = self._next(token, place, lent, said).argmax(1, keepdim=True)
            written.append(token)
            ended |= token[:, 0] == END
            if bool(ended.all()):
                break
        return [_until_end(each) for each in torch.cat(written, 1).tolist()]

    def _next(self, token: Tensor, place: int, lent: _Cache, said: _Cache) -> Tensor:
        """Logits ``[B, V]`` after one more token ``[B, 1]``; ``said`` grows by its keys."""
        net = self.net
        x = net.token_emb(token) + net.pos_emb.emb.weight[place]  # [B, 1, D]
        for i, (norm, part) in enumerate(net.attn_layers.layers):
            layer, kind = divmod(i, 3)
            normed = norm(x)
            if kind == 0:
                own = part.lend(normed)
                if place:
                    own = tuple(torch.cat(pair, 2) for pair in zip(said[layer], own, strict=True))
                said[layer : layer + 1] = [own]
                x = x + part(normed, *own)
            elif kind == 1:
                x = x + part(normed, *lent[layer])
            else:
                x = x + part(normed)
        return net.to_logits(net.norm(x))[:, 0]


def _until_end(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(END)] if END in tokens else tokens
