"""What all tests share."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tnkit.planning.calibration import DEFAULT

if shutil.which("nvidia-smi") is None:  # read when triton is imported, by whichever test comes first
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """The same plans on every machine, calibrated or not."""
    monkeypatch.setattr("tnkit.planning.calibration._known", [DEFAULT])


@pytest.fixture
def one_thread():
    """Torch on one thread: small tensors, for which more threads only cost time (0.7 s against 18 s in a comparison)."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def browser():
    """Chromium by playwright, one for all tests of a worker; skipped by name where there is none.

    A test opens pages of its own (``browser.new_page(viewport=...)``) and closes them.
    """
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with api.sync_playwright() as driver:
        found = found or driver.chromium.executable_path
        if not Path(found).exists():
            pytest.skip("no Chromium (apt-get install chromium)")
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(autouse=True)
def event_loop_of_pages(request):
    """Playwright's event loop is set as running from its first test to the last; other tests may run loops of their own."""
    running = asyncio._get_running_loop()
    if "browser" not in request.fixturenames:
        asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(asyncio._get_running_loop() or running)


def pytest_collection_modifyitems(items):
    """Each worker's share begins with the slow tests, so that at the end there are quick ones to be shared out."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers < 2:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]

    def share(tests, k):
        return tests[len(tests) * k // workers : len(tests) * (k + 1) // workers]

    items[:] = [item for k in range(workers) for item in (*share(slow, k), *share(quick, k))]
