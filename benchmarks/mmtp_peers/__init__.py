"""The magnetic moment tensor potential by other routes, and what a comparison of them needs."""
