"""The settings of a serving engine's gate, read from the model's configuration and checked once."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

from patchgate._check import checked_count, checked_number, settle
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY

_FROM_CALIBRATE = ("target",)  # what ``calibrate`` leaves beside settings


class Geometry(NamedTuple):
    """The sides of a model's patches and cells."""

    patch: int  # pixels
    merge: int  # patches
    temporal_patch: int  # frames

    @property
    def each(self) -> int:
        """The number of patches of a cell."""
        return self.merge**2


@dataclass(frozen=True)
class Budget:
    """The most tokens of a video, both None by default.

    Args:
        max_tokens: of a whole video.
        max_tokens_per_second: on the average of a video, whose length is that of its frames.
    """

    max_tokens: int | None = None
    max_tokens_per_second: float | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            settle(self, max_tokens=checked_count("max_tokens", self.max_tokens, 1))
        if (rate := self.max_tokens_per_second) is not None:
            rate = checked_number("max_tokens_per_second", rate, 0, 1e9, "tokens")
            settle(self, max_tokens_per_second=rate)


@dataclass(frozen=True)
class StreamLimits:
    """How many live streams are remembered, and for how long.

    Args:
        max_streams: the most streams at a time.
        stream_seconds: a stream that gets no request for so long is forgotten.
    """

    max_streams: int = 64
    stream_seconds: float = 600.0

    def __post_init__(self) -> None:
        settle(
            self,
            max_streams=checked_count("max_streams", self.max_streams, 0),
            stream_seconds=checked_number("stream_seconds", self.stream_seconds, 0, 1e9, "s"),
        )


_OWN = (Budget, StreamLimits)


@dataclass(frozen=True)
class ServingSettings:
    """Everything that a serving engine must know to gate videos; see docs/serving.md."""

    gate: GateSettings
    fidelity: Fidelity
    budget: Budget
    streams: StreamLimits
    geometry: Geometry

    @classmethod
    def read(cls, given: Any, geometry: Geometry, calibrated: Any = None) -> Self:
        """Reads the settings of ``config.patchgate``.

        Args:
            given: the settings by name: those of ``Gate`` (without the sizes, which are the
                model's), those of ``gated`` that decide what a cell that was not kept is, and
                those of ``Budget`` and ``StreamLimits``.
            geometry: the model's sizes.
            calibrated: what ``calibrate`` left with the model's tower, or None. It is used for
                names that ``given`` lacks, and only with ``context="full"``.

        Raises:
            TypeError, ValueError: a name or a value is wrong. The message begins with
                ``config.patchgate``.
        """
        if not isinstance(given, Mapping):
            raise TypeError(
                "config.patchgate: expected settings by name, such as "
                f'{{"threshold": 4, "context": "full"}}, got {given!r}'
            )
        given = {name: value for name, value in given.items() if name not in _FROM_CALIBRATE}
        _check_names(given, geometry)
        if given.get("context", "full") == "full" and isinstance(calibrated, Mapping):
            known = ("tolerance", "threshold", "sub_blocks")
            given = {**{name: calibrated[name] for name in known if name in calibrated}, **given}
        if isinstance(given.get("tolerance"), str):  # JSON has no infinity
            given["tolerance"] = _number("tolerance", given["tolerance"])
        try:
            budget = Budget(**_taken(given, Budget))
            streams = StreamLimits(**_taken(given, StreamLimits))
            fidelity, rules = Fidelity.split(given)
            gate = GateSettings(**{**rules, **geometry._asdict()})
            fidelity.check_gate(gate)
        except (TypeError, ValueError) as error:
            raise type(error)(f"config.patchgate: {error}") from None
        return cls(gate, fidelity, budget, streams, geometry)

    def __str__(self) -> str:
        usual = ServingSettings.read({}, self.geometry)
        always = ["threshold", "context"] + ["tolerance"] * (self.fidelity.context == "full")
        shown: dict[str, Any] = {}
        for part in ("gate", "fidelity", "budget", "streams"):
            plain = asdict(getattr(usual, part))
            for name, value in asdict(getattr(self, part)).items():
                if name in always or value != plain[name]:
                    shown[name] = value
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


def settings_of(config: Any) -> ServingSettings | None:
    """Reads the settings of a model's configuration; None: its videos are not gated.

    Args:
        config: the configuration of transformers, with the overrides of the server's command line.

    Raises:
        TypeError, ValueError: see ``ServingSettings.read``.
    """
    given = getattr(config, "patchgate", None)
    if given is None or given is False:
        return None
    vision = config.vision_config
    geometry = Geometry(
        int(vision.patch_size), int(vision.spatial_merge_size), int(vision.temporal_patch_size)
    )
    return ServingSettings.read(given, geometry, getattr(vision, "patchgate", None))


def names() -> list[str]:
    """Returns the names of all settings."""
    gate = [each.name for each in fields(GateSettings) if each.name not in GEOMETRY]
    return [*gate, *(each.name for kind in (Fidelity, *_OWN) for each in fields(kind))]


def _taken(given: dict[str, Any], kind: type) -> dict[str, Any]:
    """Takes the settings of one kind out of those that were given."""
    return {each.name: given.pop(each.name) for each in fields(kind) if each.name in given}


def _check_names(given: Mapping[str, Any], geometry: Geometry) -> None:
    known = names()
    for name, value in given.items():
        if name in geometry._fields:
            own = getattr(geometry, name)
            raise ValueError(
                f"config.patchgate: {name} is the model's own ({own}), got {value!r}; leave it out"
            )
        if name in ("size", "fit"):
            raise ValueError(
                f"config.patchgate: {name}: the model's processor resizes videos; leave it out"
            )
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"config.patchgate: expected names among {', '.join(known)}, got {name!r}{hint}"
            )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"config.patchgate: {name}: expected a number, got {text!r}") from None
