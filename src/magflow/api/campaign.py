"""A campaign as a person sees it from Python: run it, ask it, take what it has made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magflow.api.answers import answer
from magflow.campaign.directory import CampaignDirectory
from magflow.execution.status import CampaignStatus, campaign_status
from magflow.stores.questions import Question

if TYPE_CHECKING:
    from magflow.campaign.schema import CampaignSpec
    from magflow.core.dataset import Dataset
    from magflow.execution.local.executor import RunProgress
    from magflow.potentials.ensemble import PotentialEnsemble


class Campaign:
    """One campaign on disk: a directory that holds its file, its store and its queue.

    Parameters
    ----------
    directory
        Of a campaign that there is; :meth:`from_file` makes one.

    Raises
    ------
    InputError
        If there is no campaign.
    StoreError
        If it cannot be read.

    Examples
    --------
    >>> import magflow
    >>> campaign = magflow.Campaign.from_file("demo/model_hamiltonian.yaml", "demo/run")  # doctest: +SKIP
    >>> campaign.run().reason  # doctest: +SKIP
    'target-met'
    >>> campaign.labels  # doctest: +SKIP
    <Dataset of 60 labels: Al, Fe; constrained>
    >>> campaign.models.predict([item.configuration for item in campaign.labels])  # doctest: +SKIP
    """

    def __init__(self, directory: str | Path) -> None:
        self._here = CampaignDirectory.existing(Path(directory))
        self._described: tuple[Path, CampaignSpec] | None = None

    @classmethod
    def from_file(cls, file: str | Path, directory: str | Path | None = None) -> Campaign:
        """The campaign that a file describes: its directory is made, or taken up if it holds the same campaign.

        Parameters
        ----------
        file
            Campaign file; ``magflow init`` writes one.
        directory
            Where the campaign lives; None: ``runs/<name of the file>``.

        Raises
        ------
        InputError
            If the file is not right: one line per problem.
        MissingToolError
            If a program or dataset is missing that the file names.
        CampaignError
            If the directory belongs to another campaign.

        Examples
        --------
        >>> import magflow
        >>> campaign = magflow.Campaign.from_file("demo/model_hamiltonian.yaml")  # doctest: +SKIP
        >>> campaign.path  # doctest: +SKIP
        PosixPath('runs/model_hamiltonian')
        """
        from magflow.campaign.check import require_ready
        from magflow.campaign.load import load_campaign

        file = Path(file)
        spec = load_campaign(file)
        path = Path("runs") / file.stem if directory is None else Path(directory)
        require_ready(spec, path)
        campaign = cls(CampaignDirectory.prepare(path, file, spec).path)
        campaign._described = file, spec
        return campaign

    def __repr__(self) -> str:
        return f"<Campaign {self.name} in {self.path}>"

    def _repr_html_(self) -> str:
        return self.status._repr_html_()

    @property
    def path(self) -> Path:
        """The directory."""
        return self._here.path

    @property
    def name(self) -> str:
        """As its file says."""
        return str(self._here.identity["name"])

    def run(
        self,
        workers: int | None = None,
        progress: Callable[[RunProgress], None] | None = None,
    ) -> CampaignStatus:
        """Run it on this machine, from the start or from where it stopped, and write report and ensemble at the end.

        Parameters
        ----------
        workers
            Jobs at the same time; None: as the file says.
        progress
            Called when something has changed.

        Returns
        -------
        CampaignStatus
            How it stands now; ``ok`` is False if jobs failed.

        Raises
        ------
        CampaignError
            If it was submitted elsewhere, or another process runs it.
        StoreError
            If the store cannot be written.
        KeyboardInterrupt
            On Ctrl-C; the same call goes on.
        """
        from magflow.campaign.lock import campaign_lock
        from magflow.execution.backend import UNCLAIMED, backend_named, require_backend
        from magflow.execution.campaign import submit_campaign
        from magflow.execution.local.executor import LocalExecutor
        from magflow.report.files import write_results

        with campaign_lock(self.path):
            if self._described is not None:  # another start may have put its own file there since
                self._here = CampaignDirectory.prepare(self.path, *self._described)
            here, rules = self._here, self._here.spec.execution
            require_backend(here, backend_named(UNCLAIMED))
            submit_campaign(here)
            store = None if here.spec.store is None else here.store
            executor = LocalExecutor(here.path, store, workers or rules.workers, quiet_limit=rules.quiet_limit_s)
            while executor.run(progress).ok and submit_campaign(here):
                pass
            write_results(here)
        return self.status

    @property
    def status(self) -> CampaignStatus:
        """Where it stands; from any process, during and after a run."""
        return campaign_status(self._here)

    @property
    def labels(self) -> Dataset:
        """The usable labels that the loop chose, in the order they were made."""
        from magflow.stores import contents

        return contents.labelled_frames(self._here.documents, campaign=self._here.id)

    @property
    def models(self) -> PotentialEnsemble:
        """The newest complete ensemble.

        Raises
        ------
        InputError
            If none has been trained yet.
        """
        from magflow.stores import contents

        return contents.latest_ensemble(self._here.documents, self._here.id)

    @property
    def frames(self) -> list[dict[str, Any]]:
        """One row per frame ever offered, with the reason why it was selected or not."""
        return self.query("frames")

    @property
    def iterations(self) -> list[dict[str, Any]]:
        """One row per iteration: frames offered, labels, errors, cost, and why it went on or stopped."""
        return self.query("iterations")

    def query(
        self, what: str, where: str | Sequence[str] = (), *, sort: str | None = None, limit: int = 0
    ) -> list[dict[str, Any]]:
        """Rows of labels, frames, models, iterations or jobs, as ``magflow query`` finds them.

        Parameters
        ----------
        what
            ``labels``, ``frames``, ``models``, ``iterations`` or ``jobs``.
        where
            Conditions such as ``force_max > 2``; the operators are = != < <= > >= in ~.
        sort
            Field; a leading - reverses.
        limit
            Rows at most; 0: all.

        Raises
        ------
        InputError
            If there are no rows of the kind `what`, a condition cannot be read, or the field of `sort` is unknown.

        Examples
        --------
        >>> campaign.query("labels", "state = failed")  # doctest: +SKIP
        []
        """
        conditions = [where] if isinstance(where, str) else where
        return answer(self._here, what, Question.parse(conditions, sort, None, limit))

    def report(self, file: str | Path | None = None) -> Path:
        """Write the HTML page about it, finished or not; returns the path.

        Parameters
        ----------
        file
            None: ``report.html`` in its directory.
        """
        from magflow.report.page import write
        from magflow.report.record import read_record

        return write(read_record(self.path), self._here.report if file is None else Path(file))
