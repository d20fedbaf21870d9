"""What force constants teach a trained ensemble of phonons, and what it forgets meanwhile."""
