"""Settings of the VASP engine: what a user writes, nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from magflow.dft.kpoints import Mesh, Spacing
from magflow.dft.settings import CodeSettings

GGA = {"PBE": "PE", "PBEsol": "PS", "revPBE": "RE", "RPBE": "RP", "LDA": "CA"}
"""Functional to VASP's GGA tag. Always written: atomate2's sets would make it PS (PBEsol)."""

ISMEAR = {"tetrahedron": -5, "fermi-dirac": -1, "gaussian": 0, "methfessel-paxton": 1}

OWNED = frozenset(
    {
        *("ENCUT", "EDIFF", "NELM", "PREC", "ISMEAR", "SIGMA", "GGA", "GGA_COMPAT", "KSPACING", "ISYM"),
        *("ISPIN", "LNONCOLLINEAR", "LSORBIT", "SAXIS", "MAGMOM", "NUPDOWN"),
        *("I_CONSTRAINED_M", "LAMBDA", "M_CONSTR", "RWIGS", "SCTYPE", "CONSTRL", "SCDIFF", "NSC", "SCCONVB_GRAD"),
        *("LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ"),
        *("IBRION", "NSW", "ISIF", "ISTART", "ICHARG", "LWAVE", "LCHARG", "LORBIT"),
    }
)
"""Tags that follow from settings or from the frame; a user cannot write them."""

OTHER_MEANING = frozenset(
    {
        *("PSTRESS", "SCALEE", "EFIELD", "EFIELD_PEAD", "LATTICE_CONSTRAINTS"),
        *("ML_LMLFF", "ML_MODE", "IMAGES", "SPRING", "LCLIMB", "VCAIMAGES"),
    }
)
"""Tags with which energy or forces of a step are no longer those of the frame: E + PV, a scaled energy, the energy in a
field, that of a fitted force field, the forces of a band of images."""

RUNNING = frozenset(
    {
        *("ALGO", "IALGO", "TIME", "LDIAG", "LSUBROT", "NELMIN", "NELMDL", "INIWAV", "EBREAK", "DEPER", "WEIMIN"),
        *("IMIX", "INIMIX", "MIXPRE", "MAXMIX", "AMIX", "BMIX", "AMIX_MAG", "BMIX_MAG", "AMIN", "WC", "LMAXMIX"),
        *("KPAR", "NPAR", "NCORE", "NSIM", "LPLANE", "LSCALAPACK", "LSCALU", "LSCAAWARE", "LASYNC", "NGPU"),
        *("NBANDS", "KBLOCK", "MAXMEM", "NBLOCK", "SYSTEM", "NWRITE", "LDAUPRINT", "LVTOT", "LVHAR", "LELF", "LAECHG"),
        *("NEDOS", "EMIN", "EMAX", "LORBMOM"),
    }
)
"""Tags that change speed, convergence or what is printed, and not the answer."""

PotcarRelease = Literal[
    "PBE",
    "PBE_52",
    "PBE_52_W_HASH",
    "PBE_54",
    "PBE_54_W_HASH",
    "PBE_64",
    "LDA",
    "LDA_52",
    "LDA_52_W_HASH",
    "LDA_54",
    "LDA_54_W_HASH",
    "LDA_64",
]

Tags = dict[str, bool | int | float | str | list[bool | int | float]]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Penalty(_Closed):
    """Constraint by a penalty, in every VASP (I_CONSTRAINED_M).

    Added to the energy, per atom I with the moment M of its sphere and the target M0:

    - mode 1: LAMBDA |M - e (e.M)|^2, e = M0/|M0|: the axis is held, the length is free;
    - mode 2: LAMBDA |M - M0|^2: the vector is held;
    - mode 4: LAMBDA (|M| - e.M): the direction is held, parallel only (VASP 6.4; Ma and Dudarev,
      Phys. Rev. B 91, 054420 (2015)).
    """

    method: Literal["penalty"] = Field("penalty", description="A penalty in the energy: every VASP.")
    mode: Literal[1, 2, 4] = Field(2, description="I_CONSTRAINED_M: 1 axis, 2 vector, 4 direction.")
    ladder: tuple[PositiveFloat, ...] = Field(
        (1.0, 10.0, 25.0),
        min_length=1,
        description="LAMBDA of one run after the other, rising; each starts from the orbitals and the density of the "
        "one before. eV/muB^2, in mode 4 eV/muB.",
    )

    @field_validator("ladder")
    @classmethod
    def _rising(cls, ladder: tuple[float, ...]) -> tuple[float, ...]:
        if any(b <= a for a, b in pairwise(ladder)):
            raise ValueError("the steps of the ladder must rise")
        return ladder


class DeltaSpin(_Closed):
    """Hard constraint by Lagrange multipliers, in VASP with the DeltaSpin patch (Cai et al., 2023)."""

    method: Literal["deltaspin"] = Field("deltaspin", description="Lagrange multipliers: VASP with the patch.")
    criterion_mub: PositiveFloat = Field(1e-6, description="SCDIFF: rms deviation of the moments that is converged.")
    steps: PositiveInt = Field(100, description="NSC: steps of one inner optimisation.")
    gradient_break: PositiveFloat = Field(
        1.0, description="SCCONVB_GRAD: an inner optimisation ends below this dM/dlambda, muB^2/eV."
    )


class Hubbard(_Closed):
    """On-site interaction of one element (Dudarev's: only U - J counts)."""

    l: Literal[0, 1, 2, 3] = Field(description="Angular momentum: 2 for d, 3 for f.")  # noqa: E741 - its name
    u_ev: Annotated[float, Field(ge=0, description="U, eV.")]
    j_ev: Annotated[float, Field(ge=0, description="J, eV.")] = 0.0


class VaspSettings(CodeSettings):
    """What a VASP calculation is made from, beside the frame, and how it is run."""

    version: str = Field(
        pattern=r"^\d+\.\d+(\.\d+)*$",
        description="VASP's version as in the first line of OUTCAR, 6.4.2; a run of another version is a failed label.",
    )
    constraint: Penalty | DeltaSpin = Field(
        default_factory=Penalty, discriminator="method", description="How moments are held; used by constrained only."
    )
    functional: Literal["PBE", "PBEsol", "revPBE", "RPBE", "LDA"] = Field(
        "PBE", description="Exchange-correlation functional; LDA needs LDA POTCARs, the others PBE POTCARs."
    )
    potcar_functional: PotcarRelease = Field(
        "PBE_54", description="POTCAR release by pymatgen's name, in the folders it finds by PMG_VASP_PSP_DIR."
    )
    potcars: dict[str, str] = Field(
        default_factory=dict, description="Element to POTCAR, {Fe: Fe_pv}; an element not named has its plain one."
    )
    encut_ev: PositiveFloat = Field(520.0, description="Plane-wave cutoff, eV.")
    kpoints: Mesh | Spacing = Field(
        0.2,
        description="The largest k-point spacing in 1/A (2 pi included, at most 1); or a fixed mesh [n1, n2, n3]. "
        "Gamma-centred.",
    )
    smearing: Literal["fermi-dirac", "gaussian", "methfessel-paxton", "tetrahedron"] = Field(
        "gaussian", description="Occupation of the bands; forces and stress need another than tetrahedron in metals."
    )
    sigma_ev: PositiveFloat = Field(0.05, description="Width of the smearing, eV.")
    ediff_ev: PositiveFloat = Field(1e-7, description="SCF criterion, eV per cell.")
    nelm: PositiveInt = Field(200, description="SCF steps of one run.")
    rwigs_a: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="Element to the radius of its constraint sphere, A; an element not named has its POTCAR's RWIGS.",
    )
    hubbard: dict[str, Hubbard] = Field(default_factory=dict, description="Element to its on-site interaction.")
    incar: Tags = Field(
        default_factory=dict, description="Further INCAR tags that change the answer: part of the level of theory."
    )
    incar_running: Tags = Field(
        default_factory=dict,
        description="Further INCAR tags that change speed or convergence only, {KPAR: 4, AMIX: 0.2}.",
    )

    moment_tolerance_mub: PositiveFloat = Field(
        0.05, description="A label whose moment misses its target by more (muB) has failed; a penalty always misses."
    )
    consistency_tolerance_ev: PositiveFloat = Field(
        5e-3,
        description="Disagreement of energies and magnetic forces between the last two steps of a ladder that is "
        "tolerated, eV; a quarter of the energy change always is.",
    )
    magnetic_force_tolerance_ev: PositiveFloat = Field(
        0.05,
        description="A magnetic force that the digits VASP prints leave less certain than this (eV/muB) is no part "
        "of the label.",
    )
    time_limit_s: PositiveFloat | None = Field(
        24 * 3600.0, description="Wall seconds for one label, all runs together."
    )
    command: str | None = Field(
        None,
        min_length=1,
        description="VASP executable; None: vasp_command, or vasp_ncl_command where moments are vectors or held, of "
        "~/.magflow.yaml.",
    )
    keep_files: bool = Field(False, description="Keep every file of a run but POTCAR, instead of input and log only.")

    @field_validator("incar", "incar_running")
    @classmethod
    def _free_tags(cls, tags: Tags) -> Tags:
        tags = {name.upper(): value for name, value in tags.items()}
        owned = sorted(OWNED & set(tags))
        if owned:
            raise ValueError(f"{', '.join(owned)}: set by other settings or by the frame")
        other = sorted(OTHER_MEANING & set(tags))
        if other:
            raise ValueError(f"{', '.join(other)}: energy or forces would not be those of the frame")
        return tags

    @field_validator("incar_running")
    @classmethod
    def _only_running(cls, tags: Tags) -> Tags:
        answering = sorted(set(tags) - RUNNING)
        if answering:
            raise ValueError(f"{', '.join(answering)}: may change the answer, so it belongs under incar")
        return tags

    @model_validator(mode="after")
    def _one_functional(self) -> VaspSettings:
        if (self.functional == "LDA") != self.potcar_functional.startswith("LDA"):
            raise ValueError(f"functional {self.functional} with potcar_functional {self.potcar_functional}")
        return self

    @property
    def strengths(self) -> tuple[float | None, ...]:
        """LAMBDA of each run; one None where there is no penalty."""
        if self.constrained and isinstance(self.constraint, Penalty):
            return self.constraint.ladder
        return (None,)

    def potcar_symbol(self, element: str) -> str:
        """Name of the POTCAR of `element`."""
        return self.potcars.get(element, element)


def constraint_parameters(settings: VaspSettings) -> Mapping[str, Any]:
    """What a level of theory says about the constraint: not the way up the ladder, but its end."""
    constraint = settings.constraint
    if isinstance(constraint, Penalty):
        return {"method": "penalty", "mode": constraint.mode, "lambda": constraint.ladder[-1]}
    return {"method": "deltaspin", "criterion_mub": constraint.criterion_mub}
