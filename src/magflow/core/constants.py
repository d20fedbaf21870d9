"""The constants that lead to the units of the house (eV, A, muB): plain numbers, for those who need no array.

CODATA 2018, the set ABINIT and ASE 3.23+ agree on to 1e-9.
"""

from __future__ import annotations

HARTREE = 27.211386245988
"""eV"""
BOHR = 0.529177210903
"""A"""
HARTREE_PER_BOHR = HARTREE / BOHR
"""eV/A"""
HARTREE_PER_BOHR3 = HARTREE / BOHR**3
"""eV/A^3"""
EV_PER_A3_IN_GPA = 160.21766208
"""GPa; only for numbers a person reads"""
EV_PER_A2_IN_J_PER_M2 = 0.1 * EV_PER_A3_IN_GPA
"""J/m^2; the same"""
KB = 8.617333262e-5
"""eV/K"""
G_PER_CM3 = 1.66053906660
"""One atomic mass unit per cubic angstrom"""
