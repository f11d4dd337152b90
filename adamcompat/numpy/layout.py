"""The common case of a step: every gradient is an array of its parameter's dtype, and the same tables serve again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adamcompat.numpy.arrays import Array
from adamcompat.numpy.batch import GATHER_UP_TO, Batch, Memory
from adamcompat.numpy.bundles import BatchBundle
from adamcompat.numpy.compiled_batch import CompiledBatch
from adamcompat.numpy.slots import Kind, Slot, kind_of
from adamcompat.program import Stages

MakeBatch: TypeAlias = Callable[[Sequence[Slot], Sequence[int], np.dtype[Any]], Batch]


@dataclass(slots=True)
class Layout:
    """Hold what stays the same while the same parameters are updated step after step.

    Attributes:
        indices: the places of the slots in the engine.
        types: the types of gradients that need no conversion, one for each slot.
        shapes: their shapes.
        dtypes: their dtypes.
        large: positions of gradients that are read where they are.
        kinds: the kinds that there are among the parameters.
        bundles: one for each dtype.
        positions: for each bundle the positions of its gradients.
        compiled: whether compiled code does all of the update.
        lengths: the number of bytes of each gradient.
        sole: the batch of all gradients, where compiled code takes them in one go; else None.
        at_once: whether one call of compiled code may make all of the update.
        programs: the programs of the last step, and what they were made from.
    """

    indices: tuple[int, ...]
    types: list[type]
    shapes: list[tuple[int, ...]]
    dtypes: list[np.dtype[Any]]
    large: list[int]
    kinds: list[Kind]
    bundles: list[BatchBundle]
    positions: list[list[int]]
    compiled: bool
    lengths: NDArray[np.int64]
    sole: CompiledBatch | None
    at_once: bool
    programs: tuple[Any, list[list[Stages]]] | None = None

    @classmethod
    def of(cls, indices: tuple[int, ...], slots: Sequence[Slot], make: MakeBatch) -> Layout:
        """Lay out parameters.

        Args:
            indices: the places of the slots in the engine.
            slots: C-contiguous arrays, whose groups do not centralize.
            make: makes a batch; it takes slots, the kind of each as a number from 0, and the dtype of their gradients.

        Returns:
            The layout, with one bundle for each dtype.
        """
        kinds: list[Kind] = []
        places: dict[tuple[int, bool, np.dtype[Any]], int] = {}
        members: dict[np.dtype[Any], list[tuple[int, int]]] = {}
        for position, slot in enumerate(slots):
            kind = kind_of(slot)
            key = (id(kind.group), kind.decays, kind.dtype)
            if key not in places:
                places[key] = len(kinds)
                kinds.append(kind)
            members.setdefault(kind.dtype, []).append((position, places[key]))
        bundles, parts = [], []
        for dtype, entries in members.items():
            own = sorted({kind for _, kind in entries})
            positions = [position for position, _ in entries]
            batch = make([slots[i] for i in positions], [own.index(kind) for _, kind in entries], dtype)
            bundles.append(BatchBundle(batch, [kinds[i] for i in own]))
            parts.append(positions)
        batch = bundles[0].batch
        sole = batch if len(bundles) == 1 and isinstance(batch, CompiledBatch) else None
        return cls(
            indices,
            [np.ndarray] * len(slots),
            [slot.array.shape for slot in slots],
            [slot.array.dtype for slot in slots],
            [i for i, slot in enumerate(slots) if slot.array.size > GATHER_UP_TO],
            kinds,
            bundles,
            parts,
            all(isinstance(bundle.batch, CompiledBatch) for bundle in bundles),
            np.array([slot.array.nbytes for slot in slots], np.int64),
            sole,
            sole is not None and sole.few,
        )

    def take(self, gradients: tuple[Any, ...], memory: Memory) -> bool:
        """Let each bundle take its gradients, if none of them needs a conversion; return whether they were taken.

        Args:
            gradients: one for each slot, in order; anything at all.
            memory: that of parameters and state, which large gradients must not share.
        """
        if self.sole is not None and self.sole.take(gradients, memory):
            return True
        if not self.accepts(gradients, memory):
            return False
        self.load(gradients)
        return True

    def accepts(self, gradients: Sequence[Any], memory: Memory) -> bool:
        """Return whether the gradients need no conversion; compares whole lists, which is fast.

        Args:
            gradients: one for each slot, in order; anything at all.
            memory: that of parameters and state, which large gradients must not share.
        """
        return (
            list(map(type, gradients)) == self.types
            and [g.shape for g in gradients] == self.shapes
            and [g.dtype for g in gradients] == self.dtypes
            and all(
                g.flags.c_contiguous and g.flags.aligned and not memory.touches(g)
                for g in [gradients[i] for i in self.large]
            )
        )

    def load(self, gradients: Sequence[Array]) -> None:
        """Let each bundle take its gradients."""
        for bundle, positions in zip(self.bundles, self.positions, strict=True):
            bundle.batch.load(gradients if len(self.bundles) == 1 else [gradients[i] for i in positions])

    def point(self, addresses: NDArray[np.int64]) -> None:
        """Let each bundle read its gradients where they are; all bundles are compiled.

        Args:
            addresses: of the gradients; see `CompiledBatch.point`.
        """
        for bundle, positions in zip(self.bundles, self.positions, strict=True):
            assert isinstance(bundle.batch, CompiledBatch)
            bundle.batch.point(addresses if len(self.bundles) == 1 else addresses[positions])
