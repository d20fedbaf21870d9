"""Labels from VASP: moments held by a penalty or by DeltaSpin, and free spin-polarised and non-magnetic runs.

Input sets stand on pymatgen's, so atomate2's VASP Makers take them too. The DeltaSpin reader is held against a real
log; the rest was written from VASP's documentation and is tested on outputs in its formats.
"""

from __future__ import annotations

from magflow.dft.vasp.engine import VaspEngine

__all__ = ["VaspEngine"]
