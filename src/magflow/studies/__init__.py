"""What a user asks of trained potentials: a folder per question, each with a task, a result and a section of a page."""
