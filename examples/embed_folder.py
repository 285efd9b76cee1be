# python examples/embed_folder.py VIDEOS MODEL: both are folders, the second by save_pretrained.
import sys
from pathlib import Path

from transformers import AutoImageProcessor, AutoModel

import patchgate

videos, model = sys.argv[1:]
tower = patchgate.gated(*(kind.from_pretrained(model) for kind in (AutoModel, AutoImageProcessor)))
for video in sorted(Path(videos).glob("*.m*")):
    print(video.name, *patchgate.embed(video, tower).features.shape)
