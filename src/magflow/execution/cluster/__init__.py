"""A cluster under Slurm: the folder that describes it, its pilot jobs, what is checked before anything is sent."""
