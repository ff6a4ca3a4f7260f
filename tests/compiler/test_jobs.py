"""Workers: processes of this machine, and a Dask scheduler with two workers on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from gatewright.compiler.errors import InputError
from gatewright.compiler.jobs import Shared, Workers, check_jobs, workers
from support.sample_jobs import fail, sleep, square, use


def check(staff: Workers) -> None:
    values, processes = zip(*staff.map(square, range(8)), strict=True)
    assert values == tuple(x * x for x in range(8))
    assert (set(processes) == {os.getpid()}) == (staff.count == 1)
    with pytest.raises(InputError, match="3 is wrong"):
        staff.submit(fail, 3).result()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_rows(jobs: int) -> None:
    with workers(jobs) as staff:
        assert staff.count == jobs
        check(staff)


def test_what_runs_at_the_end_is_ended() -> None:
    start = time.monotonic()
    with workers(2) as staff:
        futures: list[Future[None]] = [staff.submit(sleep, 60) for _ in range(5)]
        time.sleep(0.2)
        staff.drop()
        assert next(iter(staff.map(square, [3])))[0] == 9  # and others can be started
        staff.submit(sleep, 60)
    assert time.monotonic() - start < 20
    assert not any(future.done() and not future.cancelled() and not future.exception()
                   for future in futures)  # fmt: skip


def test_a_shared_value_is_unpacked_once_in_a_process() -> None:
    shared = Shared([5, 6, 7])
    with workers(2) as staff:
        found = list(staff.map(use, [shared] * 12, [k % 3 for k in range(12)]))
    assert [value for value, _ in found] == [5, 6, 7] * 4
    assert len({place for _, place in found}) <= 2


@pytest.mark.parametrize("jobs", [0, -1, 257, "two", "1.5", ""])
def test_what_is_no_number_of_processes_is_refused(jobs: int | str) -> None:
    with pytest.raises(InputError, match="--jobs is a number of processes from 1 to 256"):
        check_jobs(jobs)


def test_numbers_and_addresses_are_taken() -> None:
    assert check_jobs("4") == 4 and check_jobs(2) == 2
    assert check_jobs("tcp://10.0.0.1:8786") == "tcp://10.0.0.1:8786"


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, as the commands of Dask start them."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    file = tmp_path / "scheduler.json"
    shared = ["--scheduler-file", str(file)]
    commands = [["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]]
    commands += 2 * [["worker", "--no-nanny", "--nthreads", "1", "--no-dashboard"]]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    running = []
    with (tmp_path / "log").open("wb") as log:
        try:
            for words in commands:
                command = [sys.executable, "-m", "dask", *words, *shared]
                running.append(
                    subprocess.Popen(
                        command, cwd=tmp_path, stdout=log, stderr=log,
                        env={**os.environ, "PYTHONPATH": path},
                    )
                )  # fmt: skip
                for _ in range(600):
                    if file.exists() and file.stat().st_size:
                        break
                    time.sleep(0.1)
            address = json.loads(file.read_text())["address"]
            with distributed_client(address) as client:
                client.wait_for_workers(2, timeout=60)
            yield address
        finally:
            for process in reversed(running):
                process.terminate()
            for process in running:
                process.wait(30)


def distributed_client(address: str) -> Any:
    from distributed import Client

    return Client(address, set_as_default=False)


def test_a_dask_scheduler_takes_the_same_jobs(scheduler: str) -> None:
    with workers(scheduler) as staff:
        assert staff.count == 2
        check(staff)
        shared = Shared([5, 6, 7])
        assert [v for v, _ in staff.map(use, [shared] * 3, range(3))] == [5, 6, 7]


def test_no_scheduler_is_an_error_with_a_way_out() -> None:
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        with workers("tcp://127.0.0.1:9"):
            pass
