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


class SqueezeExcite(nn.Module):
    """Without biases, with a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


class IRUnit(nn.Module):
    """A unit of AdaFace's IR; without ``norm`` one of face.evoLVe's, without a BatchNorm before the activation."""

    def __init__(self, before: int, channels: int, stride: int, norm: bool, se: bool) -> None:
        super().__init__()
        projected = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.shortcut_layer = nn.MaxPool2d(1, stride) if before == channels else projected
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, channels, 3, 1, 1, bias=False),
            *([nn.BatchNorm2d(channels)] if norm else []),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        if se:
            self.res_layer.add_module("se_block" if norm else "5", SqueezeExcite(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IR(nn.Module):
    """The embedding before it is scaled to length 1."""

    def __init__(self, units: tuple[int, ...], norm: bool, se: bool, size: int = EMBEDDING) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        body, before = [], 64
        for count, channels in zip(units, (64, 128, 256, 512), strict=True):
            for index in range(count):
                body.append(IRUnit(before, channels, 1 if index else 2, norm, se))
                before = channels
        self.body = nn.Sequential(*body)
        last = nn.BatchNorm1d(size, affine=not norm)  # AdaFace's has no weight and no bias
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512), nn.Dropout(0.4), nn.Flatten(), nn.Linear(512 * 49, size), last
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output_layer(self.body(self.input_layer(x)))


class Block(nn.Module):
    """Convolution, BatchNorm, perhaps PReLU, as InsightFace_Pytorch's MobileFaceNet names them."""

    def __init__(
        self, before: int, after: int, kernel: int = 1, stride: int = 1, pad: int = 0, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, pad, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(after)
        if act:
            self.prelu = nn.PReLU(after)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(x))
        return self.prelu(x) if self.act else x


class Depthwise(nn.Module):
    def __init__(self, before: int, after: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv = Block(before, groups)
        self.conv_dw = Block(groups, groups, 3, stride, 1, groups)
        self.project = Block(groups, after, act=False)
        self.residual = stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class Residuals(nn.Module):
    def __init__(self, channels: int, count: int, groups: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(Depthwise(channels, channels, groups, 1) for _ in range(count)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class BlockMobileFaceNet(nn.Module):
    """InsightFace_Pytorch's, face.evoLVe's and FaceX-Zoo's, before the embedding is scaled to length 1."""

    def __init__(self, size: int = EMBEDDING) -> None:
        super().__init__()
        self.conv1 = Block(3, 64, 3, 2, 1)
        self.conv2_dw = Block(64, 64, 3, 1, 1, 64)
        self.conv_23 = Depthwise(64, 64, 128, 2)
        self.conv_3 = Residuals(64, 4, 128)
        self.conv_34 = Depthwise(64, 128, 256, 2)
        self.conv_4 = Residuals(128, 6, 256)
        self.conv_45 = Depthwise(128, 128, 512, 2)
        self.conv_5 = Residuals(128, 2, 256)
        self.conv_6_sep = Block(128, 512)
        self.conv_6_dw = Block(512, 512, 7, groups=512, act=False)
        self.linear = nn.Linear(512, size, bias=False)
        self.bn = nn.BatchNorm1d(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x))))
        x = self.conv_5(self.conv_45(self.conv_4(self.conv_34(x))))
        return self.bn(self.linear(torch.flatten(self.conv_6_dw(self.conv_6_sep(x)), 1)))
