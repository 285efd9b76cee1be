"""Whole files to begin with: small videos in many containers, token files and state files."""

import warnings
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import clips
import odd_clips
import torch
from blend_cases import cut, drifting
from gate_videos import pan
from gated_cases import MEAN, STD, normalised, tower
from merge_cases import chunk_of
from token_cases import kept_mask, video_tokens

import patchgate

# codec, name, options of ``clips.write``
_VIDEOS = (
    ("libx264", "h264.mp4", {}),
    ("libx264", "h264_b.mkv", {"options": {"preset": "medium", "crf": "30", "bf": "2"}}),
    ("libx264", "h264.ts", {}),
    ("libx264", "h264_b.avi", {"options": {"preset": "medium", "crf": "30", "bf": "2"}}),
    ("libx264", "h264.flv", {}),
    ("libx264", "raw.h264", {}),
    ("libx264", "ten_bit.mp4", {"pixels": "yuv420p10le"}),
    ("libx265", "hevc.mp4", {"options": {"preset": "ultrafast", "x265-params": "log-level=none"}}),
    ("libvpx", "vp8.webm", {"options": {"deadline": "realtime"}}),
    ("libvpx-vp9", "vp9.webm", {"options": {"deadline": "realtime"}}),
    ("libsvtav1", "av1.mkv", {"options": {"preset": "12"}}),
    ("mpeg4", "mpeg4.avi", {"options": {}}),
    ("mpeg2video", "mpeg2.mpg", {"options": {}, "tick": Fraction(1, 25)}),
    ("mpeg1video", "mpeg1.mpg", {"options": {}, "tick": Fraction(1, 25)}),
    ("mjpeg", "mjpeg.avi", {"pixels": "yuvj420p", "options": {}}),
    ("ffv1", "ffv1.mkv", {"options": {}}),
    ("ffv1", "ffv1.nut", {"options": {}}),
    ("gif", "picture.gif", {"pixels": "rgb8", "options": {}}),
    ("apng", "picture.apng", {"pixels": "rgb24", "options": {}}),
    ("rawvideo", "raw.y4m", {"muxer": "yuv4mpegpipe", "options": {}}),
    ("prores_ks", "prores.mov", {"pixels": "yuv422p10le", "options": {}}),
    ("wmv2", "wmv.asf", {"options": {}}),
    ("theora", "theora.ogv", {"options": {}}),
)
_TEXTS = {
    "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nh264.ts\n#EXT-X-ENDLIST\n",
    "list.ffconcat": b"ffconcat version 1.0\nfile h264.mp4\nfile list.ffconcat\n",
    "list.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    b"m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}

MERGED = {"window": 4, "budget": 9, "per": "second"}


class Seeds(NamedTuple):
    """Files by kind, in an order that does not change."""

    videos: list[Path]
    tokens: list[Path]
    states: list[Path]


def make(folder: Path) -> Seeds:
    """All seeds, written to a folder. Codecs that this FFmpeg cannot write are left out."""
    videos = []
    for codec, name, options in _VIDEOS:
        path = folder / name
        try:
            clips.write(path, codec=codec, frames=10, **options)
        except (av.FFmpegError, ValueError, LookupError, OSError):
            path.unlink(missing_ok=True)
            continue
        videos.append(path)
    (folder / "made.gif").write_bytes(odd_clips.gif(48, 32, 5))
    videos.append(folder / "made.gif")
    for name, text in _TEXTS.items():
        (folder / name).write_bytes(text)
        videos.append(folder / name)
    return Seeds(videos, list(_tokens(folder)), list(_states(folder)))


def _tokens(folder: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("h264.mp4", "ffv1.mkv"):
            path = folder / f"{name}.safetensors"
            patchgate.tokenize(folder / name, size=(28, 42)).save(path)
            yield path
    kept = kept_mask(6, (3, 4))
    random = torch.Generator().manual_seed(0)
    features = torch.randn(int(kept.sum()), 8, generator=random)
    video_tokens(kept, features, 10.0).save(folder / "features.safetensors")
    yield folder / "features.safetensors"
    cut(drifting("quarters")[0], 9, 15).save(folder / "moved.safetensors")  # it has start_ids
    yield folder / "moved.safetensors"


def _states(folder: Path):
    stream = patchgate.gated(tower("siglip"), mean=MEAN, std=STD, threshold=4).stream()
    with torch.no_grad():
        stream(normalised(pan((32, 32), 4, c=3, step=(1, 0))))
    stream.save(folder / "stream.safetensors")
    yield folder / "stream.safetensors"
    merging = patchgate.MergeStream(**MERGED)
    kept = kept_mask(7, (3, 4))
    random = torch.Generator().manual_seed(0)
    features = torch.randn(int(kept.sum()), 8, generator=random)
    merging.push(chunk_of(video_tokens(kept, features, 10.0)))
    merging.save(folder / "merging.safetensors")
    yield folder / "merging.safetensors"
