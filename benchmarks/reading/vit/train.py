"""Trains the reader from nothing: ``python -m reading.vit.train [OUT.safetensors]`` in benchmarks/.

Letters: B pictures, R C rows and columns of sub-cells.
"""

import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface

from reading.readers.vit import WEIGHTS
from reading.scenes import SCENES
from reading.truth import SMALL
from reading.vit.labels import Marks
from reading.vit.model import Network, pixel_values, save
from reading.vit.pages import page
from reading.vit.scenery import frames
from reading.vit.start import start

WORKERS = 2
Sample = tuple[NDArray[np.uint8], Marks]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    pages: int = 4000
    clips: int = 30  # of each scene
    seconds: float = 3.0  # of a clip
    frames: int = 6  # of a clip
    steps: int = 4200
    batch: int = 5  # of each worker
    from_clips: tuple[float, float] = (0.3, 0.7)  # their share in a batch: at first, at last
    noise: float = 4.0  # grey levels at most
    rate: float = 1e-3  # of AdamW, for what is no matrix of a layer
    matrix_rate: float = 0.02  # of Muon, for what is
    warm_up: int = 100
    decay: float = 0.05
    index_weight: float = 2.0  # of the index's nats beside the glyph's


def main(out: Path, recipe: Recipe) -> None:
    """Each worker draws its share of the data and learns from it; they agree on every step."""
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_work, (Path(folder) / "meet", out, recipe), WORKERS)
    print(f"{out}: {_spent(start)}")


def _work(worker: int, meet: Path, out: Path, recipe: Recipe) -> None:
    """One of the workers: processes of one thread each, for they wait for each other once a step
    only, and threads in every operator."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meet}", rank=worker, world_size=WORKERS)
    start = time.time()
    drawn, filmed = data(recipe, worker)
    if worker == 0:
        print(f"{len(drawn)} pages, {len(filmed)} frames a worker: {_spent(start)}", flush=True)
    network = train(recipe, drawn, filmed, worker)
    if worker == 0:
        save(network, out)
    dist.destroy_process_group()


def data(recipe: Recipe, worker: int) -> tuple[list[Sample], list[Sample]]:
    """A worker's pages, and frames of clips."""
    seeds = np.random.SeedSequence(recipe.seed).spawn(recipe.pages)[worker::WORKERS]
    clips = [(scene, n) for n in range(recipe.clips) for scene in SCENES][worker::WORKERS]
    filmed = [
        sample
        for scene, n in clips
        for sample in frames(scene, "train", n, recipe.seconds, recipe.frames)
    ]
    return [page(np.random.default_rng(seed)) for seed in seeds], filmed


def train(recipe: Recipe, drawn: list[Sample], filmed: list[Sample], worker: int) -> Network:
    """The network after the last step, the same in every worker."""
    torch.manual_seed(recipe.seed)  # the same start in every worker
    rng = np.random.default_rng([recipe.seed, worker])
    AttentionInterface.register("plain", _attention)
    network = Network()
    first = np.random.SeedSequence(recipe.seed).spawn(100)
    start(network, [page(np.random.default_rng(seed))[0] for seed in first])
    network.tower.set_attn_implementation("plain")
    optimisers = _optimisers(network, recipe)
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    weights = torch.tensor([1, recipe.index_weight])
    running = torch.zeros(2)
    for step in range(recipe.steps):
        done = step / recipe.steps
        rate = min(1.0, (step + 1) / recipe.warm_up) * (1 + math.cos(math.pi * done)) / 2
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = rate * group["initial_lr"]
        share = recipe.from_clips[0] + done * (recipe.from_clips[1] - recipe.from_clips[0])
        sources = [filmed if rng.random() < share else drawn for _ in range(recipe.batch)]
        samples = [source[rng.integers(len(source))] for source in sources]
        losses = _losses(network, *batch(samples, recipe.noise, rng, noise))
        network.zero_grad()
        (losses * weights).sum().backward()
        _share(network)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        running = running.lerp(losses.detach(), 0.01)
        if step % 200 == 199 and worker == 0:
            print(f"{step + 1}: glyph {running[0]:.3f}, index {running[1]:.3f}", flush=True)
    return network


def batch(
    samples: list[Sample], most: float, rng: np.random.Generator, noise: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel values ``[B, 3, H, W]``, and the glyphs and indices in them as ``Marks.targets``.

    Each picture is cut out of its sample elsewhere, one in two is inverted, one in two has noise.
    """
    pictures, glyphs, indices = [], [], []
    for picture, marks in samples:
        top, left = rng.integers(1 + np.array(picture.shape[:2]) - SMALL).tolist()
        cut = picture[top : top + SMALL[0], left : left + SMALL[1]]
        pictures.append(255 - cut if rng.random() < 0.5 else cut)
        glyph, index = marks.cropped(left, top).targets()
        glyphs.append(glyph)
        indices.append(index)
    rgb = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()  # [B, 3, H, W]
    for picture in rgb:
        if rng.random() < 0.5:
            picture += rng.uniform(0, most) * torch.randn(picture.shape, generator=noise)
    glyph, index = (torch.from_numpy(np.stack(x)) for x in (glyphs, indices))
    return pixel_values(rgb.round_().clamp_(0, 255)), glyph, index


def _losses(network: Network, pixels: Tensor, glyph: Tensor, index: Tensor) -> Tensor:
    """[2] nats of a glyph's name and of its index. Blanks are many and easy: their nats are shared
    out among the glyphs, so that probabilities stay what they say."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = network.tower(pixel_values=pixels).last_hidden_state
    said = network.read(hidden.float())
    nats = [-(t * s.log_softmax(-1)).sum() for t, s in zip((glyph, index), said, strict=True)]
    return torch.stack(nats) / index.sum().clamp(min=1)


def _share(network: Network) -> None:
    """Gives every worker the mean of all workers' gradients."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    mean = (flat / WORKERS).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, mean, strict=True):
        gradient.copy_(part.view_as(gradient))


def _optimisers(network: Network, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, with which a page teaches more than with AdamW."""
    layers = {f"tower.{name}" for name, p in network.tower.named_parameters() if "layers" in name}
    matrices = [p for n, p in network.named_parameters() if n in layers and p.ndim == 2]
    others = [p for n, p in network.named_parameters() if n not in layers or p.ndim != 2]
    muon = torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=recipe.decay)
    adam = torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0, fused=True)
    for group in (*muon.param_groups, *adam.param_groups):
        group["initial_lr"] = group["lr"]
    return [muon, adam]


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, scaling: float, **_
) -> tuple[Tensor, None]:
    """Plain products: with bfloat16 on a CPU twice as fast as the fused operator."""
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    with torch.autocast("cpu", enabled=False):
        weights = scores.softmax(-1)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def _spent(start: float) -> str:
    """Minutes by the wall and of all processors, so far."""
    uses = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    busy = sum(use.ru_utime + use.ru_stime for use in uses)
    return f"{(time.time() - start) / 60:.1f} min, {busy / 60:.1f} CPU min"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS, Recipe())
