"""The shapes that the benchmarks of the frameworks share."""

from __future__ import annotations

Shape = tuple[int, ...]


def resnet50(*, output_first: bool = False) -> list[Shape]:
    """The shapes of ResNet-50's 161 trainable variables.

    Args:
        output_first: kernels as (output, input, height, width), MindSpore's order, instead of
            TensorFlow's (height, width, input, output); dense ones likewise.
    """
    shapes: list[Shape] = [(7, 7, 3, 64), (64,), (64,)]
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            kernels = [(1, 1, channels, width), (3, 3, width, width), (1, 1, width, 4 * width)]
            if block == 0:
                kernels.append((1, 1, channels, 4 * width))
            for kernel in kernels:
                shapes += [kernel, kernel[-1:], kernel[-1:]]
            channels = 4 * width
    shapes += [(2048, 1000), (1000,)]
    return [(*shape[:-3:-1], *shape[:-2]) for shape in shapes] if output_first else shapes
