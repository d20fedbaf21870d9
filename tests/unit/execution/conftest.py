"""Beside this file are the jobs and flows that the tests of every wing use."""
