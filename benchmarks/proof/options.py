"""How much of the proof is run."""

from dataclasses import dataclass

from reading.scenes import SCENES
from reading.trial import Task


@dataclass(frozen=True)
class Options:
    """From the command line."""

    quick: bool  # only to see that it runs
    few: bool  # every third setting of each sweep
    clips: int  # rendered ones, of each scene
    seconds: float  # of each rendered clip
    processes: int  # for what is not timed

    def tasks(self) -> list[Task]:
        """The rendered clips."""
        scenes = list(SCENES)[:3] if self.quick else SCENES
        return [Task(scene, seed, self.seconds) for scene in scenes for seed in range(self.clips)]
