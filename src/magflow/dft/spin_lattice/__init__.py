"""Spin-lattice model Hamiltonian of Fe-Al: a fast, exact stand-in for a DFT code in tests, demos and studies.

It is a model, not DFT: its labels say so in ``level_of_theory.code``.
"""

from magflow.dft.spin_lattice.calculator import SpinLatticeCalculator, calculator
from magflow.dft.spin_lattice.engine import SpinLatticeEngine
from magflow.dft.spin_lattice.model import SpinLatticeModel
from magflow.dft.spin_lattice.parameters import FE_AL, SpinLatticeParameters, like_iron

__all__ = [
    "FE_AL",
    "SpinLatticeCalculator",
    "SpinLatticeEngine",
    "SpinLatticeModel",
    "SpinLatticeParameters",
    "calculator",
    "like_iron",
]
