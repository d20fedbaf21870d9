"""How a structure moves: molecular dynamics on the mean of an ensemble, until it no longer knows."""
