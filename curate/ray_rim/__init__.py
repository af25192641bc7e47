"""What of the Ray executor is no executor: where it connects, what each step may take, what it reports, jobs."""
