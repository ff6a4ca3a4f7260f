"""Jobs side by side: the one executor behind builds, searches and campaigns, here or on a cluster.

A job is a function at the top of a module with arguments that can be pickled. Its result depends on
its arguments alone, so that it does not matter where it runs, when, and beside what.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any, Generic, NoReturn, TypeVar

from .errors import InputError, MissingToolError

__all__ = ["MOST", "Jobs", "Shared", "Workers", "check_jobs", "workers"]

MOST = 256
PATIENCE = 5.0  # seconds that a job has to clear up when its worker must end

Jobs = int | str
"""Number of processes, or the address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``."""
T = TypeVar("T")


def check_jobs(jobs: Jobs) -> Jobs:
    """Return a number of processes or an address, as ``--jobs`` takes it.

    Raises
    ------
    InputError
    """
    if isinstance(jobs, str) and "://" in jobs:
        return jobs
    if str(jobs).isdigit() and 1 <= int(jobs) <= MOST:
        return int(jobs)
    raise InputError(
        f"--jobs is a number of processes from 1 to {MOST}, or the address of a Dask scheduler such "
        f"as tcp://127.0.0.1:8786, not {str(jobs)!r}"
    )


class Workers:
    """An executor that can drop what it runs.

    Parameters
    ----------
    start : callable
        Makes the executor; called again after :meth:`drop`.
    count : int
        Jobs that it runs side by side.
    """

    def __init__(self, start: Callable[[], Executor], count: int) -> None:
        self._start, self.count = start, count
        self._executor: Executor | None = None
        self._futures: list[Future[Any]] = []

    def submit(self, job: Callable[..., T], *arguments: Any) -> Future[T]:
        """Start a job, or let it wait for its turn."""
        self._executor = self._executor or self._start()
        local = isinstance(self._executor, ProcessPoolExecutor)
        words = (_run_or_end, job, *arguments) if local else (job, *arguments)
        future = self._executor.submit(*words)
        self._futures.append(future)
        return future

    def map(self, job: Callable[..., T], *columns: Any) -> Iterator[T]:
        """Start a job for each row of arguments; yield the results in the order of the rows."""
        futures = [self.submit(job, *row) for row in zip(*columns, strict=True)]
        return (future.result() for future in futures)

    def drop(self) -> None:
        """End what runs and forget what waits: nobody will ask for it."""
        executor, self._executor = self._executor, None
        busy = [future for future in self._futures if not future.done()]
        self._futures = []
        for future in busy:
            future.cancel()
        if isinstance(executor, ProcessPoolExecutor):
            processes = list((executor._processes or {}).values())
            executor.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(PATIENCE)
                process.kill()
                process.join()
        elif executor is not None:
            executor.shutdown(wait=False)


class _Inline(Executor):
    """Runs each job when it is submitted, in this process."""

    def submit(self, job: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(job(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def workers(jobs: Jobs = 1) -> Iterator[Workers]:
    """Give workers for the duration of a block; what still runs at its end is ended.

    Parameters
    ----------
    jobs : int or str
        1 runs everything in this process, one job after the other.

    Raises
    ------
    InputError
        The number is out of range, or no scheduler answers.
    MissingToolError
        An address is given and Dask is not installed.
    """
    jobs = check_jobs(jobs)
    if isinstance(jobs, str):
        with _cluster(jobs) as made:
            yield made
        return

    def start() -> Executor:
        return _Inline() if jobs == 1 else ProcessPoolExecutor(jobs, initializer=_prepare_worker)

    made = Workers(start, jobs)
    try:
        yield made
    finally:
        made.drop()


@contextmanager
def _cluster(address: str) -> Iterator[Workers]:
    """Give the workers of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingToolError(
            "Dask is not installed: pip install 'gatewright[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); start one with: dask scheduler"
        ) from error
    with client:
        made = Workers(
            lambda: client.get_executor(pure=False), max(1, sum(client.ncores().values()))
        )
        try:
            yield made
        finally:
            made.drop()


def _prepare_worker() -> None:
    """Let a worker end its tools when it must end, and end with the process that started it."""

    def end(number: int, _frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_follow_parent, daemon=True).start()


def _run_or_end(job: Callable[..., T], *arguments: Any) -> T:
    """Run a job in a worker; end the worker with it, or the pool would give it the next one."""
    try:
        return job(*arguments)
    except SystemExit:
        os._exit(1)


def _follow_parent() -> None:
    parent = parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(1)


class Shared(Generic[T]):
    """A value that many jobs read: packed once, and unpacked once in each process.

    Parameters
    ----------
    value : object
        It can be pickled. Jobs do not change it, apart from what they remember in it.
    """

    def __init__(self, value: T) -> None:
        self.value = value
        self._packed: tuple[str, bytes] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._packed is None:
            data = pickle.dumps(self.value)
            self._packed = hashlib.sha256(data).hexdigest(), data
        return _unpack, self._packed


_unpacked: dict[str, Shared[Any]] = {}


def _unpack(key: str, data: bytes) -> Shared[Any]:
    if key not in _unpacked:
        _unpacked.clear()  # one sweep at a time
        _unpacked[key] = Shared(pickle.loads(data))  # noqa: S301 (what this program packed)
    return _unpacked[key]
