"""The package where less is there than usual: no PyAV, nothing that is tied to one Python, another
place, a folder that nothing may be written to, another torch.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from patchgate._ops.library import PATH

ROOT = Path(__file__).parent.parent
CLIP = ROOT / "examples" / "clips" / "torchcodec_nasa_13013.mp4"

WORKS = """
import sys

folder, clip = sys.argv[1:]
for name in ("av", "patchgate._host", "patchgate._tested"):
    sys.modules[name] = None  # an import of it fails, as if it were not installed

import torch
import patchgate

assert patchgate.__file__.startswith(folder), patchgate.__file__
assert patchgate.build_info()["version"] == patchgate.__version__

# Frames that somebody else decoded, to kept pixels.
random = torch.Generator().manual_seed(0)
y = torch.randint(0, 256, (4, 56, 70), dtype=torch.uint8, generator=random)
y[1:] = y[0]
y[2:, 20:30, 20:30] += 100
grey = torch.full((4, 28, 35), 128, dtype=torch.uint8)
times = torch.arange(4, dtype=torch.float64)
colour = patchgate.Colour("bt601", False, 8)
batch = patchgate.FrameBatch((y, grey, grey), times, torch.ones_like(times), colour)
result = patchgate.Gate(size=56, patch=14, search_radius=0, scene_cut=None).push(batch)
kept = (result.kind == patchgate.Kind.CHANGED).flatten().nonzero().flatten()
assert result.kind.shape == (4, 4, 4)
assert 16 < len(kept) < 32, len(kept)
from patchgate.gather import gather
rows = gather(batch, kept, patchgate.PixelSpec(56, 0.5, 0.5, 14))
assert rows.shape == (len(kept), 3 * 14 * 14)

# A tower that computes only what changed.
from transformers import SiglipVisionConfig, SiglipVisionModel
sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
         "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
tower = patchgate.gated(SiglipVisionModel(SiglipVisionConfig(**sizes)).eval(), mean=(0.5,) * 3,
                        std=(0.5,) * 3, tolerance=0.1)
with torch.no_grad():
    assert tower(torch.zeros(3, 3, 32, 32)).last_hidden_state.shape == (3, 16, 24)
    tokens = tower.tokens(torch.zeros(3, 3, 32, 32), pts_seconds=times[:3])
assert len(patchgate.merge(tokens, ratio=0.5).features) <= 8

# To open a video is refused, and the user is told what to do.
for call in (lambda: patchgate.open_video(clip), lambda: patchgate.tokenize(clip)):
    try:
        call()
    except ImportError as error:
        assert "pip install av" in str(error), error
    else:
        raise AssertionError("a video was opened without PyAV")
print("works")
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The package at another place: its Python files, and of what was compiled only ``_C.so``."""
    folder = tmp_path / "some where" / "patchgate"
    left_out = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(PATH.parent, folder, ignore=left_out)
    if not (folder / "kernels").exists():
        shutil.copytree(ROOT / "kernels", folder / "kernels", ignore=left_out)
    shutil.copy(PATH, folder)
    return folder.parent


def test_it_works_without_pyav_at_another_place_and_writes_nothing_there(elsewhere: Path) -> None:
    before = sorted(elsewhere.rglob("*"))
    environment = os.environ | {"PYTHONPATH": str(elsewhere), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", WORKS, str(elsewhere), str(CLIP)]
    done = subprocess.run(
        command, cwd=elsewhere.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "works"
    assert sorted(elsewhere.rglob("*")) == before


def test_importing_it_imports_no_pyav() -> None:
    code = "import sys, patchgate, patchgate.cli, patchgate.report.page; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_library_that_is_missing_is_told(elsewhere: Path) -> None:
    (elsewhere / "patchgate" / "_C.so").unlink()
    environment = os.environ | {"PYTHONPATH": str(elsewhere)}
    command = [sys.executable, "-c", "import patchgate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "ImportError: patchgate's native library is missing (_C.so in " in done.stderr


def test_no_module_imports_pyav_while_it_is_imported_itself() -> None:
    """At a module's top only ``decode/ffmpeg.py`` names it, which imports it later."""
    found = []
    for path in sorted((ROOT / "python" / "patchgate").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(name.split(".")[0] == "av" for name in names) and node.col_offset == 0:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_what_is_compiled_and_shipped_is_tied_to_no_python() -> None:
    """No module of the package is an extension module: all that is native is loaded by torch."""
    text = (ROOT / "setup.py").read_text("utf-8")
    assert text.count("Extension(") == 1
    assert "PYBIND11" not in "".join(
        path.read_text("utf-8")
        for path in (ROOT / "csrc").rglob("*.cpp")
        if "tested" not in path.parts
    )


def test_an_import_leaves_the_compiler_alone() -> None:
    """It takes as long to import as torch: a command would start a second later."""
    program = "import sys, patchgate.cli; print({'torch._dynamo', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stdout + done.stderr


def test_what_is_constant_to_the_compiler_is_marked_as_torch_marks_it() -> None:
    import torch

    from patchgate.encoders.adapted import constant_when_compiled

    def ours() -> None:
        """Nothing."""

    def theirs() -> None:
        """Nothing."""

    assert vars(constant_when_compiled(ours)) == vars(torch.compiler.assume_constant_result(theirs))
