"""Reading tables of moments and error messages."""

from __future__ import annotations

import os
import re
import time
import tracemalloc

import numpy as np
import pytest

from magflow.dft.abinit.texts import moments_in, read_log, wavering
from magflow.dft.runs import TruncatedOutputError
from magflow.dft.text import lines

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
    np.testing.assert_allclose(moments_in(text.splitlines(), 2), [1.998797, -0.02])


def test_reference_output_of_another_version(reference_data):
    path = reference_data / "abinit_cdft" / "t03_extract.abo"
    np.testing.assert_allclose(moments_in(path.read_text().splitlines(), 2), [2.25, 2.30], atol=5e-6)


@pytest.mark.parametrize("cut", [60, 250, 380, 430, 480])
def test_a_table_cut_short_is_no_table(cut):
    assert cut < TABLE.format(1.0, 2.0).rindex(" ---")
    with pytest.raises(TruncatedOutputError):
        moments_in(TABLE.format(1.0, 2.0)[:cut].splitlines(), 2)


def test_wrong_number_of_atoms():
    with pytest.raises(TruncatedOutputError, match="2 atoms instead of 3"):
        moments_in(TABLE.format(1.0, 2.0).splitlines(), 3)


def test_error_message_is_one_line():
    log = "--- !WARNING\nmessage: |\n    no\n...\n--- !ERROR\nmessage: |\n    Found `FOO`\n    in it.\n...\n"
    assert read_log(log.splitlines()).error == "Found `FOO` in it."
    assert read_log(["all is well"]).error == ""


def cycle(steps: int, energies=(-175.5,), changes=(1e-5,), largest=(0.08,)) -> str:
    said = " ETOT {:2d}  {:.9f}    -1.29E-06 2.27E-08 1.35E-04 {:.1E} {:.2E} 7.339"
    of = lambda values, i: values[i % len(values)]  # noqa: E731
    return "\n".join(said.format(i + 1, of(energies, i), of(changes, i), of(largest, i)) for i in range(steps))


def test_how_far_the_last_ten_steps_go_to_and_fro():
    energy, force = wavering(cycle(10, energies=(-175.5, -175.500002), changes=(1e-4, 3e-4)))
    assert energy == pytest.approx(2e-6)
    assert force == pytest.approx(3e-4)
    assert wavering(cycle(10, largest=(0.082, 0.083)))[1] == pytest.approx(1e-3)
    assert wavering(cycle(9)) == (np.inf, np.inf), "too few steps to say"
    assert wavering(cycle(10).replace("1.0E-05", "*******", 1)) == (np.inf, np.inf)


@pytest.mark.parametrize("word", ["********", "NaN", "-Infinity", "nan"])
def test_a_moment_that_is_no_number_is_named(word):
    text = TABLE.format(1.0, 2.0).replace("     1.000000 ", f"     {word} ")
    with pytest.raises(TruncatedOutputError, match=f"moment of atom 1 is no number: {re.escape(word)}"):
        moments_in(text.splitlines(), 2)


def test_the_charge_is_never_read_as_the_moment():
    text = TABLE.format(1.0, 2.0).replace("6.610917     1.000000 ", "-1006.610917-1001.000000 ")
    with pytest.raises(TruncatedOutputError, match="run together at atom 1"):
        moments_in(text.splitlines(), 2)
    text = TABLE.format(1.0, 2.0).replace("6.610917     1.000000 ", "********************* ")
    with pytest.raises(TruncatedOutputError, match="run together at atom 1"):
        moments_in(text.splitlines(), 2)


def test_a_log_is_read_once_and_little_of_it_is_kept():
    """500 000 heads of messages that never end: the search for one was quadratic."""

    def log():
        for _ in range(500_000):
            yield "--- !ERROR"
            yield "x" * 40

    began = time.process_time()
    tracemalloc.start()
    assert read_log(log()).error == ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert time.process_time() - began < 10


def test_a_file_without_lines_is_read_in_pieces_and_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "long").write_bytes(b"\xff" * 200_000)
    assert [len(line) for line in lines(tmp_path / "long")] == [65_536] * 3 + [200_000 - 3 * 65_536]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("pipe", "circle", "absent"):
        with pytest.raises(TruncatedOutputError, match=f"there is no {name}"):
            list(lines(tmp_path / name))
