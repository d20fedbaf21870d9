"""What a person calls from Python: campaigns, what they open, and what they ask of potentials."""
