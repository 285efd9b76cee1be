"""How much of the proof is run."""

from dataclasses import dataclass
from typing import NamedTuple

from reading.scenes import SCENES
from reading.trial import Task

READERS = ("vit", "ocr")
_FEW = 3


class Steps(NamedTuple):
    """Takes every so manieth setting of a sweep."""

    tuned: int  # of ours and of the peers
    controls: int  # of what nobody is compared with


@dataclass(frozen=True)
class Options:
    """From the command line."""

    quick: bool  # only to see that it runs
    few: bool  # every third setting of the controls; ours and peers keep their sweeps
    clips: int  # rendered ones, of each scene
    seconds: float  # of each rendered clip
    processes: int  # for what is not timed
    readers: tuple[str, ...] = READERS  # of what is left
    streams: bool = False  # of the section speed only its live streams

    @property
    def steps(self) -> Steps:
        """How finely sweeps are run."""
        return Steps(_FEW if self.quick else 1, _FEW if self.few else 1)

    def tasks(self) -> list[Task]:
        """The rendered clips."""
        scenes = list(SCENES)[:3] if self.quick else SCENES
        return [Task(scene, seed, self.seconds) for scene in scenes for seed in range(self.clips)]
