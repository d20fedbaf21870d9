"""``magflow predict``: energies, forces, stresses and magnetic forces of an ensemble, with their deviations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from magflow.cli.options import Json, Magmoms, Models, out_option


def predict(
    models: Models,
    frames: Annotated[
        Path,
        typer.Argument(metavar="FRAMES", help="Extended XYZ, POSCAR, CIF, or what ASE reads; FILE@0: its first frame."),
    ],
    output: Annotated[Path, out_option("OUT.extxyz", "File to write.")],
    magmoms: Magmoms = None,
    raw: Annotated[bool, typer.Option("--raw", help="Spread of the members as it is, without calibration.")] = False,
    as_json: Json = False,
) -> None:
    """Predict energy, forces, stress and magnetic forces (-dE/dm) of frames, and how far each is to be trusted.

    Every frame needs the moments it is evaluated at: a column `magmoms`, (N,) along z or (N, 3), or `--magmoms`.
    Written per frame:
    `energy` (eV), `stress` (eV/A^3, positive in tension), `extrapolation_grade` (above 2: outside the training set,
    as is a frame with a calibrated deviation of a force above 0.3 eV/A);
    per atom: `forces` (eV/A) and `magnetic_forces` (eV/muB); and for each quantity its `_deviation`, the calibrated
    spread of the ensemble. Labels in the input are kept under names that begin with `reference_`,
    and the errors on them are printed.

    Examples:

        magflow predict runs/feal_quick frames.extxyz -o predicted.extxyz

        magflow predict runs/feal_quick POSCAR --magmoms Fe=2.2,Al=0 -o predicted.extxyz

        magflow export runs/feal_quick --models -o potential

        magflow predict potential frames.extxyz -o predicted.extxyz --raw
    """
    from dataclasses import replace

    from magflow.api.opening import load
    from magflow.cli.inputs import magmoms_of, require_extxyz, tell
    from magflow.cli.printing import print_json
    from magflow.core.calibration import Calibration
    from magflow.io.configuration import read_configurations, with_moments
    from magflow.io.extxyz import write_extxyz
    from magflow.io.findings import Findings
    from magflow.io.predictions import check_predictable, evaluate, predicted_records, reference_errors, summary
    from magflow.potentials.limits import grades_of
    from magflow.presentation.formats import plural
    from magflow.presentation.quantities import shown

    require_extxyz(output)
    findings = Findings()
    records = read_configurations(frames, findings)
    tell(findings, extras=False)
    given = magmoms_of(magmoms)
    if given is not None:
        records = [replace(r, frame=with_moments(r.frame, given, str(frames)), vector_moments=False) for r in records]
    ensemble = load(models)
    check_predictable(records, ensemble.species, magnetic=ensemble.magnetic, where=str(frames))
    ensemble = ensemble.calibrated(Calibration()) if raw else ensemble
    wanted = [record.frame for record in records]
    prediction = evaluate(ensemble, records, where=str(frames))
    grades = grades_of(ensemble, wanted)
    write_extxyz(output, predicted_records(records, prediction, grades=grades))
    told, (errors, labels) = summary(prediction, grades), reference_errors(records, prediction)
    if as_json:
        print_json({"output": str(output), **told, "rmse": errors, "labels": labels})
        return
    typer.echo(f"wrote {output}: {_sentence(told)}")
    if errors:
        listed = ", ".join(shown(name, error) for name, error in errors.items())
        typer.echo(f"RMSE on their labels: {listed}, of {plural(labels, 'label')}")


def _sentence(told: dict[str, Any]) -> str:
    from magflow.presentation.formats import plural

    rules = ["grade above 2"] if "extrapolating" in told else []
    rules.append("deviation of a force above 0.3 eV/A")
    return f"{plural(told['frames'], 'frame')}, {told['outside']} outside the training set ({', or '.join(rules)})"
