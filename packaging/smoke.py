"""The smoke test of an installed wheel: python packaging/smoke.py CLIP

Run it with the Python of an environment in which the wheel is installed, from another folder.
"""

import sys
import time
from pathlib import Path

began = time.perf_counter()

import torch  # noqa: E402

import patchgate  # noqa: E402

clip = Path(sys.argv[1])
package = Path(patchgate.__file__).parent
assert "site-packages" in package.parts, f"expected the installed package, got {package}"
for name in ("_tested", "_host"):
    assert not list(package.glob(f"{name}*")), f"{name} is for tests: a wheel has no use for it"
assert (package / "py.typed").exists(), "expected py.typed in the wheel"

tokens = patchgate.tokenize(clip)
print(f"{tokens}, {time.perf_counter() - began:.1f} s after the first import")
assert 0 < tokens.kept_share < 0.5, tokens
assert tokens.reconstruct().shape[0] == tokens.shape.T
again = patchgate.tokenize(clip, device="cpu")
assert torch.equal(tokens.features, again.features)

# Every op is there, and answers as its definition does.
kind = torch.tensor([[[2, 0], [1, 2]]], dtype=torch.uint8)
native = torch.ops.patchgate.compact(kind, 4)
assert all(map(torch.equal, native, patchgate.reference.compact(kind, 4)))
said = patchgate.build_info()
assert said["version"] == patchgate.__version__
kernels = ", ".join(said["cuda_architectures"]) or "no device"
print(f"patchgate {said['version']}: CUDA kernels for {kernels}")
