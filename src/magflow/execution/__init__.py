"""Where a Flow runs: on this machine, on a LaunchPad of FireWorks, in jobflow-remote."""

from magflow.execution import former as _former

_former.install()
