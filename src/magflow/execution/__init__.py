"""Where a Flow runs: on this machine, on a LaunchPad of FireWorks, in jobflow-remote."""
