"""Labels from ABINIT: hard-constraint collinear constrained DFT, and free spin-polarised and non-magnetic runs.

Written for and measured with ABINIT 9.6.2 and the PAW datasets of the package gpaw-data.
"""

from __future__ import annotations

from magflow.dft.abinit.engine import AbinitEngine

__all__ = ["AbinitEngine"]
