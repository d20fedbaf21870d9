"""Shear viscosity from the fluctuations of the stress: Green-Kubo with a plateau found by time decomposition.

    eta = V / (k T) * integral over t of <P(0) P(t)>

P is any of the five independent components of the traceless stress (Daivis, Evans, J. Chem. Phys. 100, 541 (1994)).
The integral up to t gets noisier the longer t is; where it ends is not chosen by eye but by the time-decomposition
method of Zhang, Otani and Maginn, J. Chem. Theory Comput. 11, 3537 (2015): the mean of many running integrals is fitted
by the integral of two exponentials, weighted by the inverse of their spread t^b, up to the time at which the spread
drowns it. The limit of the fit is the plateau; there is none if the fit has not come near its limit by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magflow.core.types import FloatArray, IntArray
from magflow.core.units import EV_PER_A3_IN_GPA, KB
from magflow.properties.subject import UnmeasurableError

LONGEST_SHARE = 5
"""The longest lag is this part of a run: each lag is seen at least four times over."""
FEWEST_LAGS = 20
"""Lags below which there is no curve to fit."""
TOLERATED = 0.1
"""Standard error of the mean running integral, as a share of it, beyond which the fit looks no further."""
LEFT = 0.1
"""Share of the limit that the fit may have left by then, beside twice the standard error."""
FITTED_POINTS = 200
"""Lags that take part in the fit, evenly spread over the logarithm of the time."""
DECAY_TIMES = 48
"""Times tried for each of the two decays, from one stress to the next up to the end of the fit."""
RESAMPLES = 200
"""Of the bootstrap."""
SPANNED = 7.0
"""Mean correlation times (integral of the normalised autocorrelation) that the fit must span."""
LONGER = "longer runs, or more of them"


@dataclass(frozen=True, eq=False)
class GreenKubo:
    """A viscosity and the curves it comes from.

    Parameters
    ----------
    times
        (m,) lags, ps.
    correlation
        (m,) stress autocorrelation, GPa^2, mean over runs and components.
    integral, integral_error
        (m,) running integral, mPa s, and its standard error.
    fit
        (m,) of the running integral, mPa s; its limit from `cutoff` on.
    viscosity, error
        Limit of the fit and its standard error, mPa s.
    exponent
        b of the spread t^b.
    cutoff
        End of the fit, ps.
    """

    times: FloatArray
    correlation: FloatArray
    integral: FloatArray
    integral_error: FloatArray
    fit: FloatArray
    viscosity: float
    error: float
    exponent: float
    cutoff: float


def shear_components(stress: FloatArray) -> FloatArray:
    """(..., 5) the independent components of the traceless stress, all with the fluctuation of a shear stress.

    xy, xz, yz, (xx - yy)/2 and (xx + yy - 2 zz)/sqrt(12): the last is orthogonal to the fourth, as (yy - zz)/2, which
    is often taken, is not.

    Parameters
    ----------
    stress
        (..., 6) Voigt xx yy zz yz xz xy.
    """
    xx, yy, zz, yz, xz, xy = np.moveaxis(np.asarray(stress, float), -1, 0)
    return np.stack([xy, xz, yz, (xx - yy) / 2.0, (xx + yy - 2.0 * zz) / np.sqrt(12.0)], axis=-1)


def autocorrelation(series: FloatArray, lags: int) -> FloatArray:
    """(lags, ...) mean of x(0) x(t) over all origins, no mean taken off; by Fourier transform.

    Parameters
    ----------
    series
        (n, ...) at even intervals.
    """
    n = len(series)
    padded = 1 << (n + lags - 1).bit_length()
    spectrum = np.fft.rfft(series, padded, axis=0)
    power = np.fft.irfft((spectrum * spectrum.conj()).real, padded, axis=0)[:lags]
    origins: FloatArray = (n - np.arange(lags, dtype=float)).reshape(-1, *[1] * (series.ndim - 1))
    found: FloatArray = power / origins
    return found


def running_integral(values: FloatArray, interval: float) -> FloatArray:
    """(n, ...) integral from the start, by the trapezoidal rule."""
    steps = 0.5 * interval * (values[1:] + values[:-1])
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(steps, axis=0)])


def green_kubo(stresses: Sequence[FloatArray], interval: float, volume: float, temperature: float) -> GreenKubo:
    """The viscosity from some independent runs at one volume.

    Parameters
    ----------
    stresses
        (n, 6) of each run, Voigt xx yy zz yz xz xy, eV/A^3, kinetic part included.
    interval
        From one stress to the next, ps.
    volume
        A^3.
    temperature
        Mean of the runs, K.

    Raises
    ------
    UnmeasurableError
        If there is no plateau, or the runs are too short to tell.
    """
    lags = min(len(s) for s in stresses) // LONGEST_SHARE
    if lags < FEWEST_LAGS:
        raise UnmeasurableError("too few stresses to correlate", seen=f"{lags} lags", hint=LONGER)
    correlations = np.concatenate([autocorrelation(shear_components(s), lags).T for s in stresses])  # (samples, lags)
    factor = EV_PER_A3_IN_GPA * volume / (KB * temperature)
    integrals = factor * running_integral(correlations.T, interval).T
    times: FloatArray = interval * np.arange(lags, dtype=float)
    mean = integrals.mean(axis=0)
    error = integrals.std(axis=0, ddof=1) / np.sqrt(len(integrals))
    window = _window(times, mean, error)
    limits, curves = window.fitted(mean[None])
    window.check_plateau(mean, error, limits[0], curves[0])
    fitted = np.interp(times, np.append(0.0, times[window.seen]), np.append(0.0, curves[0]))
    return GreenKubo(
        times=times,
        correlation=correlations.mean(axis=0) * EV_PER_A3_IN_GPA**2,
        integral=mean,
        integral_error=error,
        fit=np.where(times <= times[window.last], fitted, limits[0]),
        viscosity=float(limits[0]),
        error=_bootstrap(integrals, window),
        exponent=window.exponent,
        cutoff=float(times[window.last]),
    )


@dataclass(frozen=True, eq=False)
class _Window:
    """Where the running integral is fitted: up to lag `last`, at the lags `seen`, weighted by 1/t^exponent."""

    times: FloatArray
    last: int
    exponent: float
    seen: IntArray

    def fitted(self, integrals: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Limits (n,) and curves (n, p) at the lags seen of the integrals of two decays that fit `integrals` (n, m).

            a (1 - exp(-t / tau)) + a' (1 - exp(-t / tau')),    a and a' not negative

        Least squares are exact in a and a' for each pair of times; the best pair of a grid is taken, so that nothing
        depends on where a search begins.
        """
        t, y = self.times[self.seen], integrals[:, self.seen]
        # the weights of the spread, times the stretch of time each point stands for
        weight = t ** (-2.0 * self.exponent) * np.gradient(t)
        basis = 1.0 - np.exp(-t / np.geomspace(t[0], t[-1], DECAY_TIMES)[:, None])
        square, reach = (basis * weight) @ basis.T, (y * weight) @ basis.T  # (g, g), (n, g)
        i, j = np.triu_indices(DECAY_TIMES, 1)
        determinant = square[i, i] * square[j, j] - square[i, j] ** 2
        first = (square[j, j] * reach[:, i] - square[i, j] * reach[:, j]) / determinant
        second = (square[i, i] * reach[:, j] - square[i, j] * reach[:, i]) / determinant
        gain = np.where((first >= 0.0) & (second >= 0.0), first * reach[:, i] + second * reach[:, j], -np.inf)
        best, rows = np.argmax(gain, axis=1), np.arange(len(y))
        one = np.argmax(reach**2 / np.diag(square), axis=1)  # where no pair will do
        alone = ~np.isfinite(gain[rows, best])
        a = np.where(alone, reach[rows, one] / np.diag(square)[one], first[rows, best])
        b = np.where(alone, 0.0, second[rows, best])
        curves = a[:, None] * basis[np.where(alone, one, i[best])] + b[:, None] * basis[j[best]]
        return a + b, curves

    def check_plateau(self, mean: FloatArray, error: FloatArray, limit: float, curve: FloatArray) -> None:
        """Refuse a fit that is still on its way at the end of the window.

        Raises
        ------
        UnmeasurableError
            If it is.
        """
        correlation_time = limit * self.times[1] / mean[1]
        rising = limit - curve[-1] > LEFT * limit + 2.0 * error[self.last]
        if rising or self.times[self.last] < SPANNED * correlation_time:
            raise UnmeasurableError(
                "the integral of the stress autocorrelation has no plateau",
                seen=f"{mean[self.last]:.3g} mPa s after {self.times[self.last]:.3g} ps",
                expected=f"{limit:.3g} mPa s, reached and kept",
                hint=LONGER,
            )


def _window(times: FloatArray, mean: FloatArray, error: FloatArray) -> _Window:
    """The lags before the one at which the error drowns the mean of the running integrals.

    Raises
    ------
    UnmeasurableError
        If there are too few.
    """
    drowned = np.flatnonzero(error[1:] > TOLERATED * mean[1:])
    last = int(drowned[0]) if drowned.size else len(times) - 1
    if last + 1 < FEWEST_LAGS:
        raise UnmeasurableError(
            "the integral of the stress autocorrelation drowns in noise",
            seen=f"after {times[last + 1]:.3g} ps",
            hint=LONGER,
        )
    exponent = float(np.polyfit(np.log(times[1:]), np.log(error[1:]), 1)[0])
    return _Window(times, last, exponent, np.unique(np.geomspace(1, last, FITTED_POINTS).astype(int)))


def _bootstrap(integrals: FloatArray, window: _Window) -> float:
    """Standard error of the limit: half of what holds 68 % of the limits of resampled runs and components.

    A few of few samples have no plateau, and a limit anywhere: a standard deviation would tell of them alone.
    """
    random, n = np.random.default_rng(0), len(integrals)
    drawn = np.stack([random.integers(0, n, n) for _ in range(RESAMPLES)])
    shares = np.stack([np.bincount(row, minlength=n) for row in drawn]) / n
    low, high = np.quantile(window.fitted(shares @ integrals)[0], [0.16, 0.84])
    return float(0.5 * (high - low) * np.sqrt(n / (n - 1.0)))
