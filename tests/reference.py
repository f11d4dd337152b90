"""Adam in float64, spelled independently of the package: every option, one array operation after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Reference:
    """Textbook form: corrected moments, epsilon scaled into epsilon hat."""

    lr: Callable[[int], float] = lambda _: 0.001
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-7
    amsgrad: bool = False
    nesterov: bool = False
    l2: Callable[[int], float] = lambda _: 0.0
    decoupled: Callable[[int], float] = lambda _: 0.0
    decays: Sequence[bool] | None = None
    scale: float = 1.0
    clipnorm: float | None = None
    clipvalue: float | None = None
    global_clipnorm: float | None = None
    ema: float | None = None
    ema_every: int | None = None
    accumulate: int = 1
    time_decay: float = 0.0
    centralize: bool = False
    paper: bool = False
    corrects: bool = True
    lrs: Sequence[Callable[[int], float]] | None = None
    calls: int = 0
    m: list[Array] = field(default_factory=list)
    v: list[Array] = field(default_factory=list)
    vhat: list[Array] = field(default_factory=list)
    acc: list[Array] = field(default_factory=list)
    average: list[Array] = field(default_factory=list)

    def step(self, ps: list[Array], gs: Sequence[Any]) -> None:
        if not self.m:
            for kept in (self.m, self.v, self.vhat, self.acc, self.average):
                kept.extend(np.zeros_like(p) for p in ps)
        call = self.calls
        self.calls += 1
        done = call // self.accumulate
        grads = [np.asarray(g, np.float64) / self.scale for g in gs]
        for total, g in zip(self.acc, grads, strict=True):
            total += g
        if (call + 1) % self.accumulate == 0:
            grads = [total / self.accumulate for total in self.acc]
            for total in self.acc:
                total[...] = 0
            self._update(ps, grads, call, done + 1)
        if self.ema is not None:
            for average, p in zip(self.average, ps, strict=True):
                average[...] = p if done == 0 else self.ema * average + (1 - self.ema) * p
                if self.ema_every and (done + 1) % self.ema_every == 0:
                    p[...] = average

    def _update(self, ps: list[Array], grads: list[Array], call: int, t: int) -> None:
        decays = self.decays or [True] * len(ps)
        lrs = self.lrs or [self.lr] * len(ps)
        grads = [g + self.l2(call) * p if d else g for g, p, d in zip(grads, ps, decays, strict=True)]
        if self.centralize:
            grads = [g - g.mean(tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 else g for g in grads]
        if self.clipnorm:
            grads = [g * min(1.0, self.clipnorm / max(float(np.linalg.norm(g)), 1e-300)) for g in grads]
        if self.global_clipnorm:
            norm = float(np.sqrt(sum(float((g**2).sum()) for g in grads)))
            grads = [g * min(1.0, self.global_clipnorm / max(norm, 1e-300)) for g in grads]
        if self.clipvalue:
            grads = [np.clip(g, -self.clipvalue, self.clipvalue) for g in grads]
        for i, (p, g) in enumerate(zip(ps, grads, strict=True)):
            lr = lrs[i](call) / (1 + self.time_decay * call)
            if decays[i]:
                p *= 1 - self.decoupled(call) * lr
            m, v = self.m[i], self.v[i]
            m *= self.b1
            m += (1 - self.b1) * g
            v *= self.b2
            v += (1 - self.b2) * g**2
            np.maximum(self.vhat[i], v, out=self.vhat[i])
            top = self.b1 * m + (1 - self.b1) * g if self.nesterov else m
            c1, c2 = (1 - self.b1**t, 1 - self.b2**t) if self.corrects else (1.0, 1.0)
            below = np.sqrt((self.vhat[i] if self.amsgrad else v) / c2)
            p -= lr * (top / c1) / (below + (self.eps if self.paper else self.eps / np.sqrt(c2)))
