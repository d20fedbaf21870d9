"""mMTPs in LAMMPS: the file its pair style reads, and the plugin that is the pair style."""

from magflow.potentials.mmtp.lammps.build import PLUGIN, Lammps, build, find_lammps
from magflow.potentials.mmtp.lammps.export import encode

__all__ = ["PLUGIN", "Lammps", "build", "encode", "find_lammps"]
