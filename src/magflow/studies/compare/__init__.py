"""Families of potentials side by side: which errs least on the same labels, and at what cost."""
