"""The keywords of `explain`, for type checkers. Made by `make reference`: change the options, not this file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TypedDict

from ...engine.draw.style import Style
from ...engine.saliency import Normalize
from ..net.secret import Secret


class RunOptions(TypedDict, total=False):
    """The options of a run: see docs/options.md. What is neither text nor truth may be given as text as well."""

    model: str | Path
    """an ONNX file with a manifest, a TensorRT plan, or i3d, which comes with the package (default: i3d)"""
    explain: str
    """top1, the name or the index of a class, or A:B for the evidence for A rather than B (default: top1)"""
    frames: int | str | None
    """frames in a window (default: the model's own; live: the longest whose tubes stay younger than --max-age)"""
    stride: int | str | None
    """frames from one sample of a window to the next; 1: every frame (default: brings them near the frame rate that the
    model was trained on)"""
    hop: int | str | None
    """frames from the start of a window to the start of the next one (default: a quarter of a window; live: as fast as
    the model runs)"""
    limit: int | str | None
    """stop after so many frames (default: no limit)"""
    sync: str
    """aligned: every frame waits for the windows that saw it; live: every frame leaves at once with the newest
    explanation; auto: live from cameras and streams, aligned from files (default: auto)"""
    max_age: float | str
    """live: older evidence fades (default: 2 seconds)"""
    hold: int | str
    """live: another class is explained once it leads for so many windows, or clearly; 1: at once (default: 3)"""
    preset: Style | str
    """a whole look; the options below change it (default: default)"""
    colormap: str
    """the colours of evidence, from weak to strong (default: turbo)"""
    alpha: float | str
    """opacity of strong evidence (default: 0.6)"""
    threshold: float | str
    """weaker evidence leaves the picture untouched (default: 0.2)"""
    normalize: Normalize | str
    """what full colour means: positive, the strongest evidence in slices that can be trusted; volume, the strongest in
    all slices, and no colour the weakest, as in the paper; or fixed:LOW:HIGH in logits (default: positive)"""
    frame: bool
    """draw a thin line around where the network looks"""
    runtime: str
    """what computes the model; auto: OpenVINO, or onnxruntime if only that is installed; TensorRT for a plan; with
    --device cuda TensorRT, by a plan that is built at the first start, or else onnxruntime (default: auto)"""
    precision: str | None
    """what the model computes in; auto: what is quickest here, as measured at the first start, but nothing that the
    model file says is too far off (default: auto for live streams, f32 for files)"""
    device: str
    """auto: the CPU, for a plan the first GPU; cuda or cuda:N, an NVIDIA GPU; or what the runtime calls one (default:
    auto)"""
    batch: int | str | None
    """windows of several streams that go through the model together (default: as many as keep tubes youngest, as
    measured; one where all inputs are files)"""
    memory: str
    """the memory that frames live in, where samples are taken and tubes are drawn: host; cuda, the model's GPU or the
    first; cuda:N; auto: where the model reads its samples (default: auto)"""
    overlay: str
    """what draws on frames in the host's memory: auto, the fastest on this processor; avx512, avx2, neon, generic or
    numpy (default: auto)"""
    overlay_threads: int | str
    """threads that draw one frame in the host's memory (default: 1)"""
    timings: bool
    """put milliseconds by stage into the JSON lines"""
    backend: str
    """what reads the input: av is PyAV, gst is GStreamer; auto is GStreamer for csi://, gst:// and srt://, and PyAV for
    everything else (default: auto)"""
    transport: str
    """how RTSP packets travel: tcp loses nothing, udp never waits for lost packets (default: tcp)"""
    size: tuple[int, int] | str | None
    """width and height asked of a camera (default: the camera's own)"""
    max_size: tuple[int, int] | str
    """a picture of more pixels than this product is refused before it is decoded (default: 4096x2304)"""
    rate: Fraction | str | None
    """frames a second asked of a camera, as 25 or 30000/1001 (default: the camera's own)"""
    format: str | None
    """pixel or stream format asked of a V4L2 camera, as FFmpeg names it: mjpeg, yuyv422, h264 (default: the camera's
    own)"""
    realtime: bool
    """play a file at its own speed, as a camera would"""
    loop: bool
    """start a file again at its end"""
    stall: float | str | None
    """a connection without a frame for so long counts as dead, and is made again (default: 2; HLS: 10)"""
    open_timeout: float | str
    """how long one attempt to connect may take (default: 5 seconds)"""
    first_timeout: float | str
    """how long to wait for the stream's first frame (default: 10 seconds)"""
    wait: bool
    """wait for the first frame for ever, even if the password is wrong"""
    tls_ca: str | None
    """a file with the certificates of the authorities that servers of rtsps://, https:// and rtmps:// are checked
    against, inputs and those that a stream is pushed to; any: nothing is checked (default: those whom the system
    trusts)"""
    retries: int | str | None
    """attempts in a row to connect again, once frames have come, before the stream fails; 0: none (default: it never
    gives up)"""
    encoder: str
    """nvenc, v4l2, vaapi, x264, or an encoder's own name, which only some outputs know: FFmpeg's for files, recordings
    and what is pushed by RTSP and RTMP, GStreamer's for what is served and for srt://; auto: the first of these that
    encodes here, and for plain files x264, whose bytes do not depend on the machine (default: auto)"""
    bitrate: int | str | None
    """bits a second, as 4M (default: by --crf where the encoder can, else by the size of the picture)"""
    crf: int | str
    """constant quality of files and recordings; smaller is better (default: 19)"""
    encoder_preset: str | None
    """x264's preset, ultrafast to placebo (default: veryfast for files, superfast for streams and for what is recorded
    live)"""
    latency: str
    """of what is streamed: low, or quality, which takes look-ahead and B-frames (default: low)"""
    segment_seconds: float | str
    """longest segment of a recording (default: 600 seconds)"""
    segment_bytes: int | str | None
    """largest segment of a recording, as 500M, as near as a frame (default: no limit)"""
    keep: str
    """how much of a recording is kept: "50" files, "20GB" (kB, MB, GB, TB) or "14d" (s, m, h, d); several with commas
    (default: everything)"""
    overwrite: bool
    """replace films, pictures and JSON lines that an earlier run wrote; without it they are kept, and the new ones get
    a number, but JSON lines of live inputs are added"""
    on_full: str
    """what a recording does on a full disk: stop until there is room, or delete its oldest segments (default: stop)"""
    listen: str
    """address that rtsp://@ and web:// listen on if they name none (default: 127.0.0.1)"""
    web_rtc: bool
    """web:// sends its video by WebRTC, too, to pages that are asked for it by #transport=webrtc and to players of
    WHEP; its H.264 is then of the constrained baseline profile for all"""
    rtsp_user: str | None
    """who may watch what is served over RTSP (default: $SALIENCY_TUBES_RTSP_USER, or anybody)"""
    rtsp_password: Secret | str | None
    """the password of --rtsp-user (default: $SALIENCY_TUBES_RTSP_PASSWORD)"""
    web_token: Secret | str | None
    """the token that web:// asks viewers for, or @FILE, a file with it (default: $SALIENCY_TUBES_WEB_TOKEN; else none
    is asked for where only this machine reaches it, and elsewhere one is made and printed at the start)"""
    web_operator_token: Secret | str | None
    """the token of those who may change streams by web://, or @FILE, a file with it (default:
    $SALIENCY_TUBES_WEB_OPERATOR_TOKEN, or nobody may)"""
    web_name: str
    """names that web:// may be called by, with commas, as behind a proxy (default: this machine's own name and its
    addresses)"""
    insecure: bool
    """web:// asks for no token, also where other machines reach it"""
