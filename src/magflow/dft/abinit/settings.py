"""Settings of the ABINIT engine: what a user writes, nothing that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from magflow.dft.kpoints import Mesh, Shared, Spacing
from magflow.dft.settings import CodeSettings
from magflow.errors import InputError


class AbinitSettings(CodeSettings):
    """What an ABINIT calculation is made from, beside the frame, and how it is run.

    A fixed k-point mesh (the default) makes the energy one smooth function of the cell, at an error of some
    25 meV for 4x4x4 on a 2-atom cell: right for tests, examples and method studies. For production give a
    spacing.
    """

    functional: Literal["PBE", "LDA", "revPBE", "RPBE"] = Field(
        "PBE", description="Exchange-correlation functional; every dataset must have been made for it."
    )
    datasets: dict[str, Path] = Field(
        default_factory=dict,
        description="Element to PAW XML file (plain or .gz). Elements not named come from the folders in "
        "dataset_dirs of ~/.magflow.yaml (by default those of the package gpaw-data).",
    )
    ecut_ha: PositiveFloat = Field(10.0, description="Plane-wave cutoff, hartree.")
    pawecutdg_ha: PositiveFloat = Field(20.0, description="Cutoff of the PAW double grid, hartree.")
    ecutsm_ha: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        0.0,
        description="Width below the cutoff over which plane waves fade out, hartree. At 0 they come and go as the "
        "cell changes, and the energy jumps with them: 2 meV/atom in iron at 10 Ha; 0.5 makes it smooth.",
    )
    kpoints: Mesh | Spacing | Shared = Field(
        (4, 4, 4),
        description="A fixed mesh [n1, n2, n3], the same for every cell; the largest k-point spacing in 1/A (2 pi "
        "included, at most 1) for production; or `cube`, one set of points for cells of every shape.",
    )
    shift: tuple[float, float, float] = Field((0.0, 0.0, 0.0), description="Shift of the mesh; zeros: Gamma-centred.")
    tsmear_ha: PositiveFloat = Field(
        0.01, description="Fermi-Dirac smearing, hartree; 0.02 and more changes the magnetism of iron."
    )
    tolvrs: PositiveFloat = Field(1e-8, description="SCF criterion: squared residual of the potential.")
    ratsph_bohr: PositiveFloat | dict[str, PositiveFloat] | None = Field(
        None,
        description="Radius of the spheres the moments are integrated in, bohr; one for all or one per element. Left "
        "out: 2.2, or the radius of the element's dataset where that is larger, as in Cr, Mn and Ni.",
    )
    ratsm_bohr: PositiveFloat = Field(0.05, description="Smearing of the sphere's edge, bohr.")
    bands_per_electron: Annotated[float, Field(ge=0.75, le=4.0)] = Field(
        1.0, description="Bands per spin over valence electrons; 1.0 leaves half of them empty."
    )
    d_band: bool = Field(
        False,
        description="Tell centre and width of the d band with each label, from the share of every state in l = 2 "
        "within the PAW spheres.",
    )
    overlap_limit: Annotated[float, Field(ge=0.0, le=0.3)] = Field(
        0.05, description="Largest share of a sphere's volume that another may cover; ABINIT's own limit is 0.05."
    )
    magcon_lambda: PositiveFloat = Field(0.2, description="Pace of the constraint: convergence only, no physics.")
    nstep: PositiveInt = Field(
        60, description="SCF steps of the first attempt; some 20 are usual, and later attempts get more."
    )
    attempts: Annotated[int, Field(ge=1, le=5)] = Field(
        3,
        description="Attempts at an SCF cycle that does not converge: smaller magcon_lambda, more steps, restart. One "
        "that fell into a ghost state of a dataset is repeated once with damped mixing besides.",
    )
    force_noise_ev_a: Annotated[float, Field(ge=0.0, le=0.1)] = Field(
        0.0,
        description="Of labels without constraints, eV/A: an SCF cycle that has spent its steps is taken all the same "
        "if in its last ten no force changed by more than this and the energy by no more than 0.5 meV/atom. Where "
        "moments collapse, in dense liquids say, the density wanders between states that are equal to this accuracy. "
        "The label says how large its noise is. 0: never.",
    )
    command: str | None = Field(
        None, min_length=1, description="ABINIT executable; None: abinit_command of ~/.magflow.yaml."
    )

    def stated_radius(self, element: str) -> float | None:
        """Sphere radius of `element`, bohr; None if radii are left out. Raises InputError if only others' are stated.

        :func:`magflow.dft.abinit.datasets.sphere_radii` tells the radius in any case.
        """
        if not isinstance(self.ratsph_bohr, dict):
            return self.ratsph_bohr
        if element not in self.ratsph_bohr:
            raise InputError(
                f"no sphere radius for {element}", where="ratsph_bohr", seen=", ".join(self.ratsph_bohr) or "nothing"
            )
        return self.ratsph_bohr[element]
