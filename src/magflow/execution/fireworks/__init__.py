"""A LaunchPad of FireWorks: the queue, what a worker does with a job, jobs whose worker is gone."""
