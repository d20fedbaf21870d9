"""Bounded minimisation that is told energies and gradients, so that many can share one prediction call.

Libraries minimise by calling a function, one problem at a time; a batch of frames wants one call for all of them.
The method is limited-memory BFGS (J. Nocedal and S. J. Wright, Numerical Optimization, 2nd ed., algorithm 7.4) on the
variables that no bound holds, along the projected path (D. P. Bertsekas, SIAM J. Control Optim. 20, 221 (1982)), with
the approximate Wolfe conditions of W. W. Hager and H. Zhang, SIAM J. Optim. 16, 170 (2005), where the energies are
too close for the Armijo condition to be told from rounding. Its first matrix is diagonal and learnt, as in J. C.
Gilbert and C. Lemarechal, Math. Program. 45, 407 (1989): moments of one element may be a hundred times as stiff as
those of another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from magflow.core.types import BoolArray, FloatArray

_MEMORY = 24
_ARMIJO = 1e-4
_ROUNDING = 1e-12
_MIN_CURVATURE = 1e-8
_MIN_STEP = 1e-7
_GROWTH = 4.0
_PRIOR = 0.1
"""What the common stiffness weighs for a variable, beside what a step of the mean length along it tells."""
_SPAN = 100.0
"""Largest ratio of a stiffness to the common one, and of the common one to it."""


def pushed_out(x: FloatArray, gradient: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    """(n,) which variables sit at a bound with a gradient that pushes them beyond it."""
    return ((x >= high) & (gradient < 0.0)) | ((x <= low) & (gradient > 0.0))


class Descent:
    """One minimisation: evaluate `trial`, :meth:`tell` what was found, and again.

    The variables are to be scaled so that the curvature of the energy is about 1 along each: the first step is the
    gradient itself.

    Parameters
    ----------
    start
        (n,) clipped to the bounds.
    low, high
        (n,) bounds; infinite where there is none.
    longest
        (n,) largest change of each variable in one step.

    Attributes
    ----------
    x, energy, gradient
        The best point so far, (n,), its energy and gradient (n,).
    trial
        (n,) the point whose energy it waits for.
    stalled
        True when no step along the gradient lowers the energy any more: `x` is as good as the arithmetic gets.
    """

    def __init__(self, start: FloatArray, low: FloatArray, high: FloatArray, longest: FloatArray) -> None:
        self.low, self.high, self.longest = low, high, longest
        self.x = np.clip(start, low, high)
        self.trial = self.x
        self.energy = np.inf
        self.gradient = np.zeros_like(self.x)
        self.stalled = False
        self._pairs: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=_MEMORY)
        self._scale = 1.0
        self._direction = np.zeros_like(self.x)
        self._step = 1.0

    def tell(self, energy: float, gradient: FloatArray) -> bool:
        """Take in the energy and gradient (n,) at `trial`; True if it became `x`. Infinite energy refuses it."""
        if np.isfinite(self.energy):
            if not self._lower(energy, gradient):
                self._shorten(energy)
                return False
            self._learn(self.trial - self.x, gradient - self.gradient)
        self.x, self.energy, self.gradient = self.trial, energy, gradient
        self._aim()
        return True

    def _lower(self, energy: float, gradient: FloatArray) -> bool:
        step = self.trial - self.x
        slope = float(self.gradient @ step)
        if energy <= self.energy + _ARMIJO * slope:
            return True
        rounding = _ROUNDING * max(1.0, abs(self.energy))
        return energy <= self.energy + rounding and float(gradient @ step) <= -(1.0 - 2.0 * _ARMIJO) * slope

    def _shorten(self, energy: float) -> None:
        """Go back along the direction, to the minimum of the parabola if there is one."""
        slope = float(self.gradient @ (self.trial - self.x))
        rise = energy - self.energy - slope
        self._step *= float(np.clip(-0.5 * slope / rise, 0.1, 0.5)) if np.isfinite(rise) and rise > 0.0 else 0.25
        if self._step >= _MIN_STEP:
            self.trial = np.clip(self.x + self._step * self._direction, self.low, self.high)
        elif self._pairs:
            self._pairs.clear()
            self._aim()
        else:
            self.stalled = True

    def _learn(self, s: FloatArray, y: FloatArray) -> None:
        """Keep a pair of positive curvature; along a negative one only steps grow."""
        curvature = float(s @ y)
        if curvature > _MIN_CURVATURE * float(s @ s):
            self._pairs.append((s, y))
            self._scale = curvature / float(y @ y)
        else:
            self._pairs.clear()
            self._scale *= _GROWTH

    def _aim(self) -> None:
        """The next direction and the first trial along it."""
        free = ~pushed_out(self.x, self.gradient, self.low, self.high)
        g = np.where(free, self.gradient, 0.0)
        direction = -self._inverse_hessian(g, free)
        if not float(direction @ g) < 0.0:
            self._pairs.clear()
            direction = -self._scale * g
        largest = float((np.abs(direction) / self.longest).max(initial=0.0))
        self._direction = direction / max(1.0, largest)
        self._step = 1.0
        self.trial = np.clip(self.x + self._direction, self.low, self.high)

    def _inverse_hessian(self, g: FloatArray, free: BoolArray) -> FloatArray:
        """(n,) two-loop recursion over the pairs, restricted to the free variables."""
        pairs = [(np.where(free, s, 0.0), np.where(free, y, 0.0)) for s, y in self._pairs]
        pairs = [(s, y) for s, y in pairs if float(s @ y) > _MIN_CURVATURE * float(s @ s)]
        q = g.copy()
        weights = []
        for s, y in reversed(pairs):
            weights.append(float(s @ q) / float(s @ y))
            q -= weights[-1] * y
        q = q / _stiffness(pairs) if pairs else q * self._scale
        for (s, y), weight in zip(pairs, reversed(weights), strict=True):
            q += (weight - float(y @ q) / float(s @ y)) * s
        return q


def _stiffness(pairs: Sequence[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """(n,) h along each variable: least squares of y = h s, every pair of one length, near the h of them all."""
    lengths = np.array([np.linalg.norm(s) for s, _ in pairs])[:, None]
    steps, changes = (np.array([pair[k] for pair in pairs]) / lengths for k in (0, 1))
    told, weight = (steps * changes).sum(axis=0), (steps**2).sum(axis=0)
    common, prior = told.sum() / weight.sum(), _PRIOR * weight.mean()
    found: FloatArray = np.clip((told + prior * common) / (weight + prior), common / _SPAN, common * _SPAN)
    return found
