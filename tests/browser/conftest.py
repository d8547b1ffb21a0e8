"""One Weir and one browser for all browser tests: a directory store, Redis, api, play; each test starts the worker that
it needs."""

import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "integration")]

from browser import Browser  # noqa: E402
from published import Published, make_clip, transcode  # noqa: E402
from line import Line  # noqa: E402
from weirtest import DirStore, RedisServer, Weir, free_port  # noqa: E402

SETTINGS = {"LADDER": "360,240", "JOB_LEASE_MS": "30000"}


@pytest.fixture(scope="session")
def weir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weir")
    redis = RedisServer(folder / "redis").start()
    weir = Weir(folder, DirStore(folder / "store"), redis)
    weir.settings |= SETTINGS
    try:
        weir.start_play(PLAY_PORT=free_port())
        weir.start_api()
        yield weir
    finally:
        weir.stop()
        redis.stop()


@pytest.fixture
def worker(weir):
    """Call it to start one; it ends with the test."""
    started = []
    yield lambda **settings: started.append(weir.start_worker(**settings)) or started[-1]
    for one in started:
        one.resume()
        one.stop()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A minute and a half, longer than players read ahead."""
    return transcode(tmp_path_factory.mktemp("published"), seconds=90, rate=10)


@pytest.fixture
def video(weir, files):
    return Published(weir.store, files).publish()


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=12)


@pytest.fixture(scope="session")
def chromium():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium, weir):
    """The browser; afterwards: nothing came from anywhere else, and nothing was complained about."""
    chromium.expected = []  # texts that the console may show in this test
    chromium.homes = [weir.plays[0].url]
    yield chromium
    seen = chromium.seen()
    homes = tuple(f"{home}/" for home in chromium.homes)
    assert [url for url in seen["requests"] if not url.startswith((*homes, "blob:", "data:"))] == []
    assert [text for text in seen["console"] if not any(part in text for part in chromium.expected)] == []


@pytest.fixture
def watch(browser, weir):
    """watch(video_id, **playwright context options) opens the page."""
    def open_page(video_id, **options):
        return browser.open(f"{weir.plays[0].url}/watch/{video_id}", options)
    return open_page


@pytest.fixture
def line(weir):
    """What lies between the browser and the api."""
    line = Line(weir.apis[0].url)
    yield line
    line.close()
    for video in weir.videos("?limit=200"):
        weir.api().request("DELETE", f"/api/v1/videos/{video['id']}")


@pytest.fixture
def page(browser, line):
    """page(**playwright context options) opens the upload page and waits for its list."""
    def open_page(**options):
        browser.homes.append(line.url)
        # 409: the last bytes of a paused upload were stored just after the page had asked how far it was
        browser.expected += ["Failed to load resource"] if options.pop("breaks", False) else ["409 (Conflict)"]
        status = browser.open(f"{line.url}/", options)
        if options.get("javaScriptEnabled", True):
            browser.wait_for("!document.getElementById('library-note').textContent.startsWith('Loading')")
        return status
    yield open_page
    browser.leave()
