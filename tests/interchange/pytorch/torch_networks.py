"""arcface_torch's networks, written a second time in PyTorch under the names of its state dicts."""

from __future__ import annotations

import torch
from torch import nn

UNITS = {"iresnet18": (2, 2, 2, 2)}
BLOCKS = {"mbf": ((1, 4, 6, 2), 2), "mbf_large": ((2, 8, 12, 4), 4)}
EMBEDDING = 512


class Unit(nn.Module):
    """Two 3x3 convolutions and a shortcut, with a BatchNorm before and after each."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        shortcut = [nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)]
        self.downsample = nn.Sequential(*shortcut) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    def __init__(self, units: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        before = 64
        for stage, (count, channels) in enumerate(zip(units, (64, 128, 256, 512), strict=True), start=1):
            layer = [Unit(before, channels, 2), *(Unit(channels, channels, 1) for _ in range(count - 1))]
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
            before = channels
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(p=0.0, inplace=True)
        self.fc = nn.Linear(512 * 7 * 7, EMBEDDING)
        self.features = nn.BatchNorm1d(EMBEDDING)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.dropout(torch.flatten(self.bn2(x), 1))))


class Layers(nn.Module):
    """A chain that the state dict calls ``layers``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Flatten(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.size(0), -1)


def convolution(
    before: int, after: int, kernel: int, stride: int, pad: int, groups: int = 1, act: bool = True
) -> Layers:
    conv = nn.Conv2d(before, after, kernel, stride, pad, groups=groups, bias=False)
    return Layers(conv, nn.BatchNorm2d(after), *([nn.PReLU(after)] if act else []))


class Bottleneck(Layers):
    def __init__(self, channels: int, after: int, groups: int, stride: int) -> None:
        super().__init__(
            convolution(channels, groups, 1, 1, 0),
            convolution(groups, groups, 3, stride, 1, groups),
            convolution(groups, after, 1, 1, 0, act=False),
        )
        self.residual = stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileFaceNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...], scale: int) -> None:
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale

        def residual(channels: int, count: int, groups: int) -> Layers:
            return Layers(*(Bottleneck(channels, channels, groups, 1) for _ in range(count)))

        one = blocks[0] == 1
        self.layers = nn.ModuleList(
            [
                convolution(3, narrow, 3, 2, 1),
                convolution(narrow, narrow, 3, 1, 1, groups=64) if one else residual(narrow, blocks[0], 128),
                Bottleneck(narrow, narrow, 128, 2),
                residual(narrow, blocks[1], 128),
                Bottleneck(narrow, wide, 256, 2),
                residual(wide, blocks[2], 256),
                Bottleneck(wide, wide, 512, 2),
                residual(wide, blocks[3], 256),
            ]
        )
        self.conv_sep = convolution(wide, 512, 1, 1, 0)
        last = convolution(512, 512, 7, 1, 0, groups=512, act=False)
        linear = nn.Linear(512, EMBEDDING, bias=False)
        self.features = Layers(last, Flatten(), linear, nn.BatchNorm1d(EMBEDDING))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


def make_network(name: str) -> nn.Module:
    """Return the network in inference, its weights as PyTorch begins."""
    return (IResNet(UNITS[name]) if name in UNITS else MobileFaceNet(*BLOCKS[name])).eval()
