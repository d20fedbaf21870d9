"""Taking in labels that exist: what there is in files of other programs, and what about it looks wrong."""
