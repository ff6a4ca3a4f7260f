"""Runs of tools as jobs: files in, files out, kept in the cache by the digest of all that they depend on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...compiler.errors import CheckError
from ...compiler.files.cache import digest, obtain
from ...compiler.files.temporary import temporary_folder
from .tools import Progress, run_tool, tool_identity

__all__ = ["Outcome", "ToolJob", "run_job"]

LOG = "tool.log"


@dataclass(frozen=True)
class ToolJob:
    """A tool, and the files that it reads and makes.

    Parameters
    ----------
    tool : str
    identity : str
        Of the tool, from :func:`~.tools.tool_identity`: a worker elsewhere must have the same one.
    arguments : tuple of str
        File names are relative.
    inputs : dict of str -> bytes
    outputs : tuple of str
        Files that the tool must make.
    """

    tool: str
    identity: str
    arguments: tuple[str, ...]
    inputs: dict[str, bytes]
    outputs: tuple[str, ...]

    @property
    def key(self) -> str:
        """Digest of all that the outputs depend on."""
        files = [part for item in sorted(self.inputs.items()) for part in item]
        return digest("tool", self.tool, self.identity, *self.arguments, "files", *files)


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Parameters
    ----------
    ok : bool
        The tool ended well and made every output.
    log : str
        Everything that it said.
    files : dict of str -> bytes
        Every file that it made; empty where it failed.
    """

    ok: bool
    log: str
    files: dict[str, bytes]


class _FailedRunError(Exception):
    """A run that is not kept."""


def run_job(
    job: ToolJob, live: str = "", progress: Progress = lambda _: None, what: str = ""
) -> Outcome:
    """Run a job, or take its outcome from the cache. Failures are not kept.

    Parameters
    ----------
    job : ToolJob
    live : str
        Path that leads to the log while the tool runs, where its folder is on this machine.
    progress, what
        As for :func:`~.tools.run_tool`; not called where the cache has the outcome.

    Raises
    ------
    CheckError
        This machine has another version of the tool than the one that asks.
    """
    if (here := tool_identity(job.tool)) != job.identity:
        raise CheckError(
            f"a worker has {here}, but {job.identity} was asked for: install the same on each machine"
        )
    with temporary_folder() as folder:
        log = folder / LOG

        def build() -> list[str]:
            for name, content in job.inputs.items():
                (folder / name).write_bytes(content)
            if live:
                with suppress(OSError):
                    Path(live).symlink_to(log)
            code = run_tool(job.tool, job.arguments, folder, log, progress, what)
            if code or not all((folder / name).is_file() for name in job.outputs):
                raise _FailedRunError
            made = {path.name for path in folder.iterdir() if path.is_file()}
            return sorted(made - set(job.inputs))

        try:
            obtain(job.key, folder, build)
        except _FailedRunError:
            return Outcome(False, log.read_text(errors="replace"), {})
        files = {
            path.name: path.read_bytes()
            for path in sorted(folder.iterdir())
            if path.is_file() and path.name not in {LOG, *job.inputs}
        }
        return Outcome(True, log.read_text(errors="replace"), files)
