"""The player page in Chromium."""

import json
import pathlib

import pytest

from published import Published, new_video_id, transcode
from weirtest import wait_for

PICTURES = pathlib.Path(__file__).resolve().parents[2] / "build/browser"
LEVEL = "weir.hls.levels[weir.hls.currentLevel]?.height"


def picture(browser, name, whole=False):
    """For people to look at: what the window shows, or the whole page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    browser.screenshot(str(PICTURES / f"{name}.png"), whole)
    assert (PICTURES / f"{name}.png").stat().st_size > 4000


def test_plays_by_itself(browser, watch, video):
    assert watch(video.id) == 200
    browser.plays()
    at = browser.evaluate("video.currentTime")
    browser.wait_for(f"video.currentTime > {at} + 1")
    assert abs(browser.evaluate("video.duration") - 90) < 0.5
    assert browser.evaluate("document.getElementById('notice').hidden")
    assert browser.evaluate("new URL(video.poster).pathname") == f"{video.stable}/poster.jpg"
    seen = browser.seen()["answers"]
    assert f"200 {video.stable}/poster.jpg" in seen
    assert f"200 {video.stable}/master.m3u8" in seen
    assert any(f"200 {video.path('')}" in answer and answer.endswith(".ts") for answer in seen)


def test_starts_silent_and_turns_the_sound_on(browser, watch, video):
    """Without a click browsers let a page start only without sound."""
    watch(video.id)
    browser.plays()
    browser.wait_for("video.muted && !document.getElementById('unmute').hidden")
    browser.click("#unmute")
    assert browser.evaluate("!video.muted && document.getElementById('unmute').hidden")
    assert browser.evaluate("document.activeElement === video")
    browser.wait_for("video.webkitAudioDecodedByteCount > 0")


def test_a_silent_video_has_no_sound_to_turn_on(browser, watch, weir, tmp_path):
    video = Published(weir.store, transcode(tmp_path, seconds=12, rate=10, sound=False)).publish()
    watch(video.id)
    browser.plays()
    browser.wait_for("video.currentTime > 1")
    assert browser.evaluate("['unmute', 'sound-key'].every((name) => document.getElementById(name).hidden)")
    before = browser.evaluate("video.muted")
    browser.press("m")
    assert browser.evaluate("video.muted") is before
    browser.press("k")
    picture(browser, "silent")


def test_quality_menu(browser, watch, video):
    watch(video.id)
    browser.plays()
    assert browser.evaluate("[...document.querySelectorAll('#quality option')].map((o) => o.text.split(' ')[0])") == [
        "Automatic", "360p", "240p"]
    for label, height in (("240p", 240), ("360p", 360)):
        browser.choose("#quality", label)
        browser.wait_for(f"{LEVEL} === {height} && video.videoHeight === {height}")
    at = browser.evaluate("video.currentTime")
    browser.wait_for(f"video.currentTime > {at} + 0.5")
    browser.evaluate("(quality.value = '-1', quality.dispatchEvent(new Event('change')))")
    assert browser.evaluate("weir.hls.autoLevelEnabled")
    browser.wait_for("/^Automatic \\(\\d+p\\)$/.test(quality.options[0].text)")


def test_keyboard(browser, watch, video):
    watch(video.id)
    browser.plays()
    browser.press("k")
    assert browser.evaluate("video.paused")
    browser.press(" ")
    browser.wait_for("!video.paused")
    browser.press(" ")
    assert browser.evaluate("video.paused")
    at = browser.evaluate("video.currentTime")
    browser.press("ArrowRight")
    assert abs(browser.evaluate("video.currentTime") - at - 5) < 0.01
    browser.press("ArrowLeft")
    assert abs(browser.evaluate("video.currentTime") - at) < 0.01
    browser.press("l")
    assert abs(browser.evaluate("video.currentTime") - at - 10) < 0.01
    browser.press("j")
    muted = browser.evaluate("video.muted")
    browser.press("m")
    assert browser.evaluate("video.muted") is not muted
    browser.press("f")
    browser.wait_for("document.fullscreenElement?.id === 'stage'")
    browser.press("f")
    browser.wait_for("!document.fullscreenElement")
    browser.press("q")
    assert browser.evaluate("document.activeElement.id") == "quality"
    browser.press("k")  # in the menu it is a letter like any other
    assert browser.evaluate("video.paused")


def test_everything_is_reached_with_tab(browser, watch, video):
    watch(video.id)
    browser.plays()
    browser.wait_for("!document.getElementById('unmute').hidden")
    reached = []
    for _ in range(30):
        browser.press("Tab")
        reached.append(browser.evaluate("document.activeElement.id"))
        if {"video", "quality", "unmute"} <= set(reached):
            break
    order = list(dict.fromkeys(reached))
    assert order.index("video") < order.index("unmute") < order.index("quality"), order
    assert browser.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_what_a_screen_reader_finds(browser, watch, weir, clip, worker):
    worker()
    video = weir.upload(clip, title="Tides & weirs")
    weir.wait_for_state(video["id"], "completed")
    watch(video["id"])
    browser.plays()
    tree = browser.aria()
    assert '- main:' in tree
    assert '- heading "Tides & weirs" [level=1]' in tree
    assert '- combobox "Quality"' in tree
    assert browser.evaluate("video.getAttribute('aria-label')") == "Tides & weirs"
    assert browser.evaluate("document.title") == "Tides & weirs – Weir"
    assert browser.evaluate("document.documentElement.lang") == "en"


def test_waits_and_starts_by_itself(browser, watch, weir, clip, worker):
    video = weir.upload(clip, title="Patience", description="First line.\nSecond line.")
    watch(video["id"])
    browser.says("in the queue")
    assert browser.evaluate("[title.textContent, description.textContent]") == ["Patience", "First line.\nSecond line."]
    running = worker(X264_PRESET="medium")
    weir.wait_for_state(video["id"], "active")
    browser.says("being prepared")
    browser.wait_for("!progress.hidden && progress.value >= 0")
    running.pause()
    picture(browser, "preparing")
    running.resume()
    browser.plays(60)
    picture(browser, "playing-after-waiting")


def test_says_why_a_video_failed(browser, watch, weir, worker):
    worker()
    video = weir.upload(b"This is not a video. " * 100, filename="letter.mp4")
    error = weir.wait_for_state(video["id"], "failed")["error"]
    watch(video["id"])
    browser.says("could not be prepared")
    said = browser.evaluate("document.getElementById('status').textContent")
    assert said.endswith(error)
    assert browser.evaluate("video.hidden")
    picture(browser, "failed")


def test_a_video_that_is_deleted_while_it_is_watched(browser, watch, weir, video):
    watch(video.id)
    browser.plays()
    browser.expected = ["404", "Failed to load resource"]
    video.mark_deleted()
    wait_for(lambda: weir.plays[0].get(video.path("v240/seg_00010.ts")).status == 404, 5, "the video to be gone")
    browser.evaluate("void (video.currentTime = 80)")
    browser.says("no such video")
    assert browser.evaluate("video.hidden")


@pytest.mark.parametrize("video_id", [new_video_id(), "v_nonsense"], ids=["unknown", "malformed"])
def test_a_video_that_does_not_exist(browser, watch, video_id):
    browser.expected = ["404"]
    watch(video_id)
    browser.says("no such video")
    assert browser.evaluate("title.textContent") == "No such video"


def test_goes_on_after_the_server_was_away(browser, watch, weir, video):
    watch(video.id)
    browser.plays()
    browser.expected = ["ERR_CONNECTION_REFUSED", "Failed to load resource"]
    play = weir.plays[0]
    play.kill()
    browser.evaluate("void (video.currentTime = 75)")
    browser.wait_for("performance.getEntriesByType('resource').some((e) => e.name.endsWith('.ts') && e.responseStatus === 0)")
    play.start().wait_until_ready()
    browser.wait_for("!video.hidden && !video.paused && video.currentTime > 75.5", 40)


@pytest.mark.parametrize("name, options", [
    ("desktop", {"viewport": {"width": 1280, "height": 800}}),
    ("desktop-dark", {"viewport": {"width": 1280, "height": 800}, "colorScheme": "dark"}),
    ("phone", {"viewport": {"width": 390, "height": 844}, "isMobile": True, "hasTouch": True, "deviceScaleFactor": 2}),
    ("phone-landscape", {"viewport": {"width": 844, "height": 390}, "isMobile": True, "hasTouch": True}),
])
def test_fits_every_screen(browser, watch, weir, clip, worker, name, options):
    worker()
    video = weir.upload(clip, title="The river at the old weir, filmed from the footbridge in the early morning",
                        description="High water after three days of rain.\n\nNo sound but the beeps of the gauge.")
    weir.wait_for_state(video["id"], "completed")
    watch(video["id"], **options)
    browser.plays()
    browser.wait_for("video.currentTime > 2")
    picture(browser, name)
    box = json.loads(browser.evaluate("JSON.stringify([document.documentElement.scrollWidth, innerWidth, "
                                      "video.getBoundingClientRect(), innerHeight])"))
    assert box[0] <= box[1], "nothing to scroll sideways"
    assert box[2]["left"] >= 0 and box[2]["right"] <= box[1] and box[2]["bottom"] <= box[3]
