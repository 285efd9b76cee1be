"""Where a tower's weights are, and of which kind."""

from collections.abc import Iterator

from torch import Tensor, nn

from patchgate.encoders.calls import is_known


def check_weights(model: nn.Module, home: str) -> None:
    """That a tower's weights are whole, in one place and of one dtype.

    Adapters may have another dtype: they bring their results back to that of what they adapt.

    Args:
        home: the Python module of the tower's class, see ``calls.addition``.

    Raises:
        ValueError: they are offloaded, sharded, on several devices or of several dtypes.
    """
    every = list(model.parameters())
    if any(weight.is_meta for weight in every):
        raise ValueError(
            "tower: some of its weights are on the meta device: offloaded, and loaded only while "
            "their own module is called, or never loaded. A gated tower needs them at hand: load "
            "the whole tower on one device (in a device_map, give it a device of its own)"
        )
    if any(_is_sharded(weight) for weight in every):
        raise ValueError(
            "tower: its weights are sharded over several processes (DTensor). A gated tower "
            "computes on whole ones: leave the vision tower out of fully_shard or the tensor "
            "parallel plan, it is small beside the language model"
        )
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


def _own(module: nn.Module, home: str) -> Iterator[Tensor]:
    """Its parameters, but for those within wrappers."""
    if is_known(module, home):
        yield from module.parameters(recurse=False)
        for child in module.children():
            yield from _own(child, home)


def _is_sharded(weight: Tensor) -> bool:
    # By name, for importing torch.distributed.tensor takes as long as all of torch.
    return any(kind.__name__ == "DTensor" for kind in type(weight).__mro__)
