"""Which frames to label: a pure function from arrays to indices with reasons."""
