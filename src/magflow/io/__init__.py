"""Foreign formats in and out; units and signs are converted here and nowhere else."""
