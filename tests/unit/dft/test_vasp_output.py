"""Reading vasprun.xml and OUTCAR: a real vasprun.xml of antiferromagnetic Cr, and files that are cut short."""

from __future__ import annotations

import lzma

import numpy as np
import pytest

from magflow.core.units import EV_PER_A3_IN_GPA
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.vasp.output import error_message, read_moments, read_output

END = "\n General timing and accounting informations for this job:\n"


@pytest.fixture
def chromium(reference_data, tmp_path):
    """A finished run of 16 Cr atoms; its OUTCAR is not in the reference data and holds its last line only."""
    with lzma.open(reference_data / "phonopy" / "Cr" / "vasprun.xml.xz", "rb") as f:
        (tmp_path / "vasprun.xml").write_bytes(f.read())
    (tmp_path / "OUTCAR").write_text(END)
    return tmp_path


def test_numbers_of_the_file(chromium):
    output = read_output(chromium, 16, polarised=False)
    assert output.energy == -164.00238535  # e_fr_energy; e_0_energy of this VASP is the entropy term
    assert output.version == "5.4.4"
    assert output.titles == ("PAW_PBE Cr_pv 02Aug2007",)
    assert output.elements == ("Cr",) * 16
    assert output.converged
    assert (output.iterations, output.residual) == (25, 0.0)  # the last step, and not the first, changed nothing
    np.testing.assert_array_equal(output.forces[1], [0.06510668, 0, 0])
    np.testing.assert_allclose(
        output.stress * EV_PER_A3_IN_GPA, [0.861168847, 0.863225791, 0.863225791, 0, 0, 0], atol=1e-12
    )  # -8.6 kbar: stretched, and positive in tension here


def test_what_is_cut_short_is_said(chromium):
    xml = (chromium / "vasprun.xml").read_bytes()
    for content, message in ((xml[: len(xml) // 3], "incomplete"), (b"", "incomplete"), (None, "no vasprun.xml")):
        (chromium / "vasprun.xml").unlink(missing_ok=True)
        if content is not None:
            (chromium / "vasprun.xml").write_bytes(content)
        with pytest.raises(TruncatedOutputError, match=message):
            read_output(chromium, 16, polarised=False)


def test_another_number_of_atoms_is_refused(chromium):
    with pytest.raises(TruncatedOutputError, match="forces"):
        read_output(chromium, 15, polarised=False)


def test_an_outcar_without_its_end_is_truncated(chromium):
    (chromium / "OUTCAR").write_text("")
    with pytest.raises(TruncatedOutputError, match="OUTCAR"):
        read_output(chromium, 16, polarised=False)


def test_a_polarised_run_needs_its_table_of_moments(chromium):
    with pytest.raises(TruncatedOutputError, match="moments"):
        read_moments(chromium / "OUTCAR", 16)


def test_error_messages_of_vasp():
    box = " |     VERY BAD NEWS! internal error in subroutine SGRCON:       |\n"
    assert error_message(f"DAV: 1\n{box}") == "VERY BAD NEWS! internal error in subroutine SGRCON:"
    assert "ZHEGV" in error_message(" Error EDDDAV: Call to ZHEGV failed. Returncode =  15\n")
    assert error_message("DAV:   1  -0.1E+01\n") == ""
