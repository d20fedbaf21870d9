"""Magnetic moment tensor potentials (mMTP): a native engine behind the Potential protocol."""

from magflow.potentials.mmtp.family import MmtpFamily
from magflow.potentials.mmtp.potential import MmtpPotential
from magflow.potentials.mmtp.residuals import MmtpWeights

__all__ = ["MmtpFamily", "MmtpPotential", "MmtpWeights"]
