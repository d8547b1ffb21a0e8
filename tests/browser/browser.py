"""Chromium for tests, through driver.mjs."""

import json
import pathlib
import shutil
import subprocess

from weirtest.wait import PATIENCE

HERE = pathlib.Path(__file__).resolve().parent


class BrowserError(Exception):
    pass


class Browser:
    """Every method of driver.mjs is a method here: browser.open(url, {"viewport": …}), browser.press("k")."""

    def __init__(self):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        assert chromium, "chromium is missing; scripts/setup installs it"
        assert (HERE / "node_modules/playwright-core").exists(), "run scripts/test, which installs the driver"
        self.node = subprocess.Popen(["node", HERE / "driver.mjs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True)
        self.version = self.call("start", chromium)

    def call(self, method, *args):
        self.node.stdin.write(json.dumps({"method": method, "args": args}) + "\n")
        self.node.stdin.flush()
        line = self.node.stdout.readline()
        assert line, "the browser's driver has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["result"]

    def __getattr__(self, method):
        return lambda *args: self.call(method, *args)

    def wait_for(self, expression, seconds=20):
        """The first true value of a JavaScript expression in the page."""
        try:
            return self.call("waitFor", expression, seconds * PATIENCE * 1000)
        except BrowserError as error:
            page = self.call("evaluate", "document.body.innerText")
            raise AssertionError(f"waited {seconds * PATIENCE} s for {expression}\n{error}\nthe page says:\n{page}") from None

    def says(self, text, seconds=20):
        """Waits until the page's status line holds the text."""
        return self.wait_for(f"!document.getElementById('notice').hidden && "
                             f"document.getElementById('status').textContent.includes({json.dumps(text)})", seconds)

    def plays(self, seconds=30):
        """Waits until the picture moves."""
        return self.wait_for("!video.hidden && !video.paused && video.currentTime > 0.3 && video.videoWidth > 0", seconds)

    def close(self):
        if self.node.poll() is None:
            self.call("stop")
            self.node.wait(20)
