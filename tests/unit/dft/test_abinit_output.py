"""Reading tables of moments and error messages."""

from __future__ import annotations

import numpy as np
import pytest

from magflow.dft.abinit.output import error_message, read_moments
from magflow.dft.runs import TruncatedOutputError

TABLE = """ Integrated electronic and magnetization densities in atomic spheres:
 ---------------------------------------------------------------------
 Radius=ratsph(iatom), smearing ratsm=  0.0500. Diff(up-dn)=approximate z local magnetic moment.
 Atom    Radius    up_density   dn_density  Total(up+dn)  Diff(up-dn)   Atomic charge
    1   2.20000     4.304857     2.306060      6.610917     {0:.6f}      1.389083
    2   2.20000     0.604857     0.606060      1.210917    {1:.6f}      1.389083
 ---------------------------------------------------------------------
  Sum:              4.304857     2.306060      6.610917     1.998797
"""


def test_the_last_table_counts():
    text = TABLE.format(1.0, -0.1) + "\n more output\n" + TABLE.format(1.998797, -0.02)
    np.testing.assert_allclose(read_moments(text, 2), [1.998797, -0.02])


def test_reference_output_of_another_version(reference_data):
    path = reference_data / "abinit_cdft" / "t03_extract.abo"
    np.testing.assert_allclose(read_moments(path.read_text(), 2), [2.25, 2.30], atol=5e-6)


@pytest.mark.parametrize("cut", [60, 250, 380, 430, 480])
def test_a_table_cut_short_is_no_table(cut):
    assert cut < TABLE.format(1.0, 2.0).rindex(" ---")
    with pytest.raises(TruncatedOutputError):
        read_moments(TABLE.format(1.0, 2.0)[:cut], 2)


def test_wrong_number_of_atoms():
    with pytest.raises(TruncatedOutputError, match="2 atoms instead of 3"):
        read_moments(TABLE.format(1.0, 2.0), 3)


def test_error_message_is_one_line():
    log = "--- !WARNING\nmessage: |\n    no\n...\n--- !ERROR\nmessage: |\n    Found `FOO`\n    in it.\n...\n"
    assert error_message(log) == "Found `FOO` in it."
    assert error_message("all is well") == ""
