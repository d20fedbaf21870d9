"""What families share whose programs run in processes of their own: the process, its trainings, their labels."""
