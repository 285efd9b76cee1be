"""Which decoder is chosen, and what is said where it cannot be NVDEC."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import clips
import pytest
import torch
from fake_nvdec import FakeBackend
from nvdec_cases import assert_same, on_gpu, refused

import patchgate
from patchgate.decode import DecodeWarning
from patchgate.decode.nvdec import decoder as nvdec_module
from patchgate.decode.nvdec.capabilities import capability

MISSING = {
    "libcuda.so.1: cannot open shared object file": "--gpus all",
    "Failed to load NVENC library: libnvidia-encode.so.1: cannot open": "compute,utility,video",
    "Failed to open dynamic library: cuvid: libnvcuvid.so.1": "compute,utility,video",
}


# ---- capabilities and fallback


def test_capabilities_are_asked_once(nvdec: FakeBackend) -> None:
    for name in ("h264.mp4", "late.mp4", "late.ts"):
        list(on_gpu(clips.clip(name)))
    assert nvdec.nvc.asked == [(0, "h264", 1, 8)]
    list(on_gpu(clips.clip("hevc.mp4")))
    assert nvdec.nvc.asked[1:] == [(0, "hevc", 1, 8)]
    assert capability(nvdec, "hevc", 8).engines == 2


LACKS: list[tuple[str, dict[str, int], str]] = [
    ("av1.mkv", {"supported": 0}, "this GPU's decoder has no av1 of 8 bit"),
    ("h264.mp4", {"width_max": 48}, "from 16x16 to 48x4096 .* and this is 64x48"),
    ("h264.mp4", {"height_min": 144}, "from 16x144"),
    ("h264.mp4", {"mb_num_max": 11}, r"at most 11 macroblocks, and this is 64x48 \(12\)"),
    ("mpeg4.avi", {}, "not used here for mpeg4, only for h264, hevc"),
]


@pytest.mark.parametrize(("name", "caps", "why"), LACKS)
def test_what_nvdec_lacks_is_decoded_by_pyav_and_says_so_once(
    nvdec: FakeBackend, name: str, caps: dict[str, int], why: str
) -> None:
    nvdec.nvc.caps |= caps
    with pytest.warns(DecodeWarning, match=f"decoded on the CPU by PyAV .*{why}") as said:
        video = patchgate.open_video(clips.clip(name), device="cuda")
    assert len(said) == 1
    assert said[0].filename == __file__
    assert video.decoder == "pyav"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = list(video)
    assert_same(got, list(patchgate.open_video(clips.clip(name))))
    assert not nvdec.nvc.decoders
    with pytest.raises(ValueError, match=why):
        patchgate.open_video(clips.clip(name), device="cuda", fallback=False)


def test_a_fallback_is_told_even_where_damage_is_ignored(nvdec: FakeBackend) -> None:
    with pytest.warns(DecodeWarning, match="by PyAV"):
        patchgate.open_video(clips.clip("mpeg4.avi"), device="cuda", errors="ignore")


def test_other_chroma_falls_back(nvdec: FakeBackend, tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.mkv", pixels="yuv444p", frames=2)
    with pytest.warns(DecodeWarning, match="and this is yuv444p"):
        patchgate.open_video(path, device="cuda")
    assert not nvdec.nvc.asked, "there is nothing to ask"


def test_interlaced_video_falls_back(nvdec: FakeBackend, tmp_path: Path) -> None:
    """NVDEC would not give the fields as they are."""
    path = clips.write(tmp_path / "clip.mkv", frames=4, options={"x264-params": "interlaced=1"})
    with pytest.warns(DecodeWarning, match="because it is interlaced"):
        patchgate.open_video(path, device="cuda")


def test_tokens_of_a_fallback_are_the_same(nvdec: FakeBackend) -> None:
    with pytest.warns(DecodeWarning, match="by PyAV"):
        got = patchgate.tokenize(clips.clip("mpeg4.avi"), size=56, device="cuda")
    expected = patchgate.tokenize(clips.clip("mpeg4.avi"), size=56)
    assert torch.equal(got.features, expected.features)
    assert torch.equal(got.source, expected.source)


# ---- what is missing


def install(monkeypatch: pytest.MonkeyPatch, package: Any, version: str = "2.2.4") -> None:
    """A machine with a GPU, on which importing PyNvVideoCodec gives or raises ``package``."""

    def imported() -> ModuleType:
        if isinstance(package, Exception):
            raise package
        return package

    monkeypatch.setattr(nvdec_module, "_package", imported)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    nvdec_module._load.cache_clear()


def test_the_import_of_patchgate_looks_for_no_driver() -> None:
    code = "import patchgate, sys; assert 'PyNvVideoCodec' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_torch_without_cuda_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    refused(r"built without CUDA; install one with it, or use device=\"cpu\"")


def test_no_usable_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ModuleType("nvc"))
    refused("this machine has 1 CUDA device", "cuda:3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused("check the NVIDIA driver with nvidia-smi")


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ModuleNotFoundError("No module", name="PyNvVideoCodec"))
    refused(r'pip install "PyNvVideoCodec>=2\.2\.4"')
    install(monkeypatch, ModuleNotFoundError("No module named 'x'", name="x"))
    refused("No module named 'x'")


def test_the_package_is_loaded_once_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ModuleType("nvc"))
    first = nvdec_module.backend(torch.device("cuda"))
    assert first.device == torch.device("cuda", 0)
    assert nvdec_module.backend(torch.device("cuda", 0)) is first
    nvdec_module._load.cache_clear()


def test_an_old_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ModuleType("nvc"), "2.2.3")
    refused(r"PyNvVideoCodec 2\.2\.3 is too old: pip install --upgrade")


@pytest.mark.parametrize("message", MISSING)
@pytest.mark.parametrize("error", [RuntimeError, ImportError])
def test_missing_libraries_of_the_driver_are_told(
    monkeypatch: pytest.MonkeyPatch, message: str, error: type[Exception]
) -> None:
    install(monkeypatch, error(message + " file"))
    refused(MISSING[message])


def test_any_other_error_of_the_package_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, RuntimeError("Driver version is too old"))
    refused("PyNvVideoCodec: Driver version is too old")


def test_a_library_that_is_missed_only_when_asked_is_told(nvdec: FakeBackend) -> None:
    def asked(*question: Any) -> None:
        raise RuntimeError("cuvid: libnvcuvid.so.1: cannot open shared object file")

    nvdec.nvc.GetDecoderCaps = asked
    refused(r"libnvcuvid\.so\.1\) are missing. In a container")
