"""Where a structure comes to rest: moments, atoms and cell relaxed together, and how far the end is to be trusted."""
