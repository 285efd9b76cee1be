"""Which of FFmpeg's formats are media files.

FFmpeg detects formats by itself. Some formats are not media but texts that name other files and
addresses, which FFmpeg then opens. So it gets a list of the formats that contain their own frames.
All others are used only if the user asks for them by name.
"""

from __future__ import annotations

from functools import lru_cache

from ..ffmpeg import av

# The names of FFmpeg's demuxers that read only the file that they get. ("image2" and "mlv" also
# look for numbered files beside it, and "vobsub" opens a second file.)
_VIDEO = """
    3dostr 4xm alias_pix anm apng apv asf asf_o av1 avi avs avs2 avs3 bethsoftvid bfi bink bmv
    brender_pix c93 cavsvideo cdg cdxl cine dcstr dfa dhav dirac dnxhd dsicin dv dxa ea ea_cdata evc
    film_cpk filmstrip fits flic flv frm gdv gif gxf h261 h263 h264 hevc hnm hxvs ico idcin iff ifv
    ingenient ipmovie ipu iss iv8 ivf ivr jpegxl_anim jv kux live_flv lmlm4 luodat lvf lxf m4v
    matroska mgsts mjpeg mjpeg_2000 mm mods moflex mov mpeg mpegts mpegtsraw mpegvideo mpjpeg
    msnwctcp msp mtv mv mvi mxf mxg nc nsv nut nuv obu ogg paf pdv pmp psxstr pva r3d rl2 rm roq rpl
    ser sga siff simbiosis_imx smjpeg smk smush swf thp tiertexseq tmv txd ty usm vc1 vc1test
    vividas vivo vmd vvc wc3movie webp_pipe wsvqa wtv xmv yop yuv4mpegpipe
"""
_STILLS = """
    bmp cri dds dpx exr gem gif hdr j2k jpeg jpegls jpegxl jpegxs pam pbm pcx pfm pgm pgmyuv pgx phm
    photocd pictor png ppm psd qdraw qoi sgi sunrast tiff vbn xbm xpm xwd
"""
# Formats of sound, so that the error for such a file can say that it has only sound.
_SOUND = """
    aac ac3 aiff amr ape au caf dts dtshd eac3 flac mp3 mpc mpc8 oma tta voc w64 wav wv xwma
"""
# The extensions of files by which videos are found in a folder: those that FFmpeg gives to the
# formats above, without those of sound and of stills, and common ones that it leaves out.
_EXTENSIONS = """
    264 265 266 3g2 3gp apv asf avc avi avs2 avs3 dav divx dv evc f4v flv gif gxf h261 h264 h265
    h266 hevc ismv ivf kux m1v m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d mkv mov mp4 mpe mpeg mpg mts mxf
    nut obu ogg ogv qt rm rmvb roq ts usm vc1 viv vob vvc webm wmv wtv y4m
"""
EXTENSIONS = (*_EXTENSIONS.split(),)
MEDIA = (*_VIDEO.split(), *(f"{name}_pipe" for name in _STILLS.split()), *_SOUND.split())
PLAYLISTS = ("concat", "dash", "hls", "imf", "sdp")  # they contain only names


def checked_format(name: str | None) -> str | None:
    """Checks ``format=`` of ``open_video``; returns the name that we use for its demuxer.

    Raises:
        TypeError: it is no text.
        ValueError: it is no format of video files.
    """
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"format: expected the name of a format or None, got {name!r}")
    title = _title_of(name)
    if title is None and name in PLAYLISTS:
        raise ValueError(f"format: the FFmpeg of PyAV {av.__version__} here cannot read {name}")
    if title is None:
        raise ValueError(
            f"format: this FFmpeg has no format called {name!r}; leave it out, or pass a name such "
            "as 'mp4', 'mpegts', 'h264' or 'hls'"
        )
    if name in MEDIA:
        return name
    known = next((one for one in (*MEDIA, *PLAYLISTS) if _title_of(one) == title), None)
    if known is None:
        raise ValueError(
            f"format: {name!r} is no format of video files; open_video opens neither capture "
            "devices nor formats that look for further files by themselves"
        )
    return known


@lru_cache
def _title_of(name: str) -> str | None:
    """Returns a title that all names of one demuxer share; None if FFmpeg has no such name."""
    try:
        return str(av.ContainerFormat(name, "r").long_name)
    except ValueError:
        return None
