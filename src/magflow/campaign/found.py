"""What ``magflow check`` says about labels to start from: what is in the files, and what will be done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from magflow.campaign.build import chooses
from magflow.campaign.labels import LabelsSpec
from magflow.campaign.schema import CampaignSpec
from magflow.io.importing.warm_start import Given, differences, take_in, title, together

Look = Callable[[], str]


def looks_at_labels(spec: CampaignSpec) -> Iterator[tuple[str, Look]]:
    """For each file what it is called and how to look at it; last, how to look at all of them together."""
    read: list[tuple[LabelsSpec, Given]] = []
    for labels in spec.label_files:
        yield str(labels.path.name), partial(_file, spec, labels, read)
    yield "all labels", partial(_together, spec, read)


def _file(spec: CampaignSpec, labels: LabelsSpec, read: list[tuple[LabelsSpec, Given]]) -> str:
    own = spec.engine().level_of_theory(spec.system.elements)
    wish = labels.file().wish(own)
    given = take_in(labels.path, wish, own, spec.system.elements, foreign=labels.mixed)
    read.append((labels, given))
    return _sentence(given, spec)


def _sentence(given: Given, spec: CampaignSpec) -> str:
    found = given.survey
    parts = [f"{len(given.items) + given.left_out} labels of {', '.join(found.elements)}"]
    parts += [f"{title(level)}: {n}" for level, n in found.levels]
    parts += [f"moments {what}: {n}" for what, n in found.moments.items()]
    if given.turned:
        parts.append(f"moments of {given.turned} turned to z")
    if given.left_out:
        parts.append(f"left out: {given.left_out} whose moments lie along no common axis")
    parts += [f"suspicious: {s.what} ({s.count} labels)" for s in found.suspicions]
    states = found.magnetic_states
    if states is not None and states.mixed:
        deaf = "" if spec.family().magnetic else f" (family {spec.train.family} reads none)"
        parts.append(states.meaning + deaf)
    name = str(Path(given.path))
    parts += [line.replace(name, given.path.name) for line in found.findings.lines()]
    return "; ".join(parts)


def _together(spec: CampaignSpec, read: list[tuple[LabelsSpec, Given]]) -> str:
    if len(read) < len(spec.labels):  # the probes of those files tell why
        return f"{len(read)} of {len(spec.labels)} files can be used"
    parts = []
    if own := [given for labels, given in read if not labels.mixed]:
        parts.append(f"{len(together(own))} of the campaign's own level of theory, learnt from in every fit")
    if other := [given for labels, given in read if labels.mixed]:
        dataset = together(other)
        mine = spec.engine().level_of_theory(spec.system.elements)
        first = "chooses the first batch, and " if chooses(spec, dataset) and not own else ""
        parts.append(
            f"{len(dataset)} of another ({differences(dataset.levels_of_theory[0], mine)}): "
            f"an ensemble on them alone {first}is what every fit starts from"
        )
    return "; ".join(parts) + "; none counts against a budget"
