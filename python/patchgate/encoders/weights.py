"""Checks that a tower's weights are whole, on one device and of one dtype."""

from collections.abc import Iterator

from torch import Tensor, nn

from patchgate.encoders.calls import is_known


def check_weights(model: nn.Module, home: str) -> None:
    """Checks that a tower's weights are whole, on one device and of one dtype.

    Adapters may have another dtype: they cast their results to that of the adapted module.

    Args:
        model: the tower.
        home: the Python module of the tower's class, see ``calls.addition``.

    Raises:
        ValueError: weights are offloaded, sharded, on several devices or of several dtypes.
    """
    every = list(model.parameters())
    if any(weight.is_meta for weight in every):
        raise ValueError(
            "tower: some of its weights are on the meta device: offloaded (loaded only while their "
            "own module is called) or never loaded. A gated tower needs all of them in memory: "
            "load the whole tower on one device (in a device_map, give it a device of its own)"
        )
    check_whole(model)
    places = {weight.device for weight in every}
    if len(places) > 1:
        listed = ", ".join(sorted(map(str, places)))
        raise ValueError(
            f"tower: expected weights of one dtype on one device, got {listed}; load the whole "
            "tower on one device (in a device_map, give it a device of its own)"
        )
    kinds = {weight.dtype for weight in _own(model, home) if weight.is_floating_point()}
    if len(kinds) > 1:
        listed = ", ".join(sorted(map(str, kinds)))
        raise ValueError(f"tower: expected weights of one dtype on one device, got {listed}")


def check_whole(model: nn.Module) -> None:
    """Raises a ``ValueError`` if weights are sharded over several processes."""
    if any(map(_is_sharded, model.parameters())) or any(map(_is_fsdp, model.modules())):
        raise ValueError(
            "tower: its weights are sharded over several processes (DTensor or FSDP). A gated "
            "tower needs whole weights: leave the vision tower out of fully_shard, of "
            "FullyShardedDataParallel (ignored_modules=) or of the tensor parallel plan; it is "
            "small compared with the language model"
        )


def _own(module: nn.Module, home: str) -> Iterator[Tensor]:
    """Yields a module's parameters, without those of wrappers and what is inside them."""
    if is_known(module, home):
        yield from module.parameters(recurse=False)
        for child in module.children():
            yield from _own(child, home)


# By name, because importing torch.distributed.tensor takes as long as importing torch.


def _is_sharded(weight: Tensor) -> bool:
    return any(kind.__name__ == "DTensor" for kind in type(weight).__mro__)


def _is_fsdp(module: nn.Module) -> bool:
    """Whether a module is a ``FullyShardedDataParallel``, or one holds its weights."""
    managed = vars(module).get("_is_fsdp_managed_module", False)  # what it tells torch.compile
    return bool(managed) or type(module).__name__ == "FullyShardedDataParallel"
