"""The upload page in Chromium, against the real api, over a line that is as slow and as broken as a test wants."""

import json

import pytest

from published import make_clip
from test_watch import picture
from weirtest import request, wait_for

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "isMobile": True, "hasTouch": True, "deviceScaleFactor": 2}
SLOW = 150_000  # bytes per second
STATES = "[...document.querySelectorAll('.upload')].map((row) => row.dataset.state)"
SAYS = "document.querySelector('.upload .state')?.textContent ?? ''"
VIDEOS = "document.querySelectorAll('.video').length"


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Some seconds each at the slow rate."""
    folder = tmp_path_factory.mktemp("clips")
    return [make_clip(folder / f"Harbour {n}.mp4", seconds=8 + n) for n in range(5)]


@pytest.fixture
def slow(browser, page):
    """The page with a network on which progress can be seen."""
    def open_page(**options):
        page(**options)
        browser.network({"up": SLOW})
    return open_page


def choose(browser, *files):
    browser.setFiles("#file", [str(file) for file in files])


def is_under_way(browser, part=0.1):
    """Waits until so much of the first upload was sent, which is not all."""
    browser.wait_for(f"document.querySelector('.upload progress')?.value > {part}")
    assert browser.evaluate("document.querySelector('.upload progress').value") < 1


def has_arrived(browser, videos=1, seconds=30):
    browser.wait_for(f"document.querySelectorAll('.upload').length === 0 && {VIDEOS} >= {videos}", seconds)


def stored(weir, file):
    """The one video of this file, after a look at its bytes."""
    video, = [video for video in weir.videos() if video["filename"] == file.name]
    assert weir.source(video["id"]) == file.read_bytes()
    return video


def head(line):
    """What the server says of the upload that came last."""
    path = next(one.split()[1] for one in reversed(line.requests) if one.startswith("PATCH"))
    return request(line.url, "HEAD", path, headers={"Tus-Resumable": "1.0.0"})


def news(browser, text):
    browser.wait_for(f"document.getElementById('news').textContent.includes({json.dumps(text)})")


# --- the way of a video ---

def test_drop_watch_it_become_a_video_and_play(browser, page, line, weir, worker, clips):
    page(**DESKTOP)
    browser.click("#title")
    browser.type("Low tide")
    at = json.loads(browser.evaluate("JSON.stringify(document.getElementById('library').getBoundingClientRect())"))
    browser.dragFiles([str(clips[0])], int(at["x"]) + 50, int(at["y"]) - 20, ["dragEnter", "dragOver"])
    browser.wait_for("document.body.classList.contains('dragging')")
    browser.dragFiles([str(clips[0])], int(at["x"]) + 50, int(at["y"]) - 20, ["drop"])
    browser.wait_for("document.querySelector('.video .state')?.textContent === 'In the queue'")
    assert browser.evaluate("[title.value, document.body.className]") == ["", ""]
    news(browser, f"{clips[0].name} is uploaded.")
    video = stored(weir, clips[0])
    assert (video["title"], video["state"]) == ("Low tide", "waiting")
    assert browser.evaluate("document.querySelector('.video a').href") == "", "nothing to watch yet"
    running = worker(X264_PRESET="medium")
    browser.wait_for("document.querySelector('.video .state').textContent.startsWith('Preparing')")
    weir.wait_for_state(video["id"], "active")
    running.pause()
    picture(browser, "upload-preparing")
    running.resume()
    news(browser, "Low tide can be watched.")
    browser.wait_for("document.querySelector('.video img').naturalWidth > 0")
    assert browser.evaluate("document.querySelector('.length').textContent") == "0:08"
    browser.click(".video a")
    browser.plays()
    assert browser.evaluate("location.href") == weir.video(video["id"])["links"]["watch"]


def test_several_at_once_and_the_rest_in_line(browser, slow, line, weir, clips):
    slow(**DESKTOP)
    browser.click("#title")
    browser.type("Harbour tour")
    choose(browser, *clips)
    browser.wait_for(f"{STATES}.join() === 'uploading,uploading,uploading,queued,queued'")
    browser.wait_for("/^\\d+ % – Weir$/.test(document.title)")
    browser.click(".upload:nth-child(4) .cancel")  # nothing was sent, so nothing is asked
    browser.wait_for("document.querySelectorAll('.upload').length === 4")
    browser.wait_for("[...document.querySelectorAll('.upload .state')].some((one) => / left$/.test(one.textContent))")
    picture(browser, "uploads-desktop", True)
    browser.network({})
    has_arrived(browser, 4)
    assert sorted(video["title"] for video in weir.videos()) == [f"Harbour tour ({n})" for n in (1, 2, 3, 5)]
    browser.wait_for("document.title === 'Weir'")


def test_pause_and_resume(browser, slow, line, weir, clips):
    slow()
    choose(browser, clips[0])
    is_under_way(browser)
    browser.click(".upload .act")
    browser.wait_for(f"({SAYS}).startsWith('Paused')")
    assert browser.evaluate("document.activeElement.textContent") == f"Resume {clips[0].name}"
    offsets = [-1]
    wait_for(lambda: offsets.append(int(head(line).headers["Upload-Offset"])) or offsets[-1] == offsets[-2], 10,
             "the last bytes to arrive", every=0.5)
    browser.network({})
    browser.press("Enter")
    has_arrived(browser)
    assert line.offsets == [0, offsets[-1]]
    stored(weir, clips[0])


def test_cancel_takes_it_back(browser, slow, line, weir, clips):
    slow()
    choose(browser, clips[0])
    is_under_way(browser)
    browser.click(".upload .cancel")
    browser.wait_for("document.getElementById('ask').open")
    assert browser.axe() == []
    browser.press("Escape")
    browser.wait_for("!document.getElementById('ask').open")
    assert browser.evaluate(STATES) == ["uploading"]
    browser.click(".upload .cancel")
    browser.click("#yes")
    browser.wait_for("document.querySelectorAll('.upload').length === 0")
    assert browser.evaluate("document.activeElement.id") == "file"
    wait_for(lambda: head(line).status in (404, 410), 10, "the upload to be gone")
    assert weir.videos() == [] and browser.evaluate("localStorage.length") == 0


# --- what breaks ---

def test_goes_on_by_itself_when_the_line_was_cut(browser, slow, line, weir, clips):
    slow(breaks=True)
    choose(browser, clips[0])
    is_under_way(browser, 0.25)
    line.stop()
    browser.wait_for(f"/^The connection was lost. Trying again in \\d+ s.$/.test({SAYS})")
    news(browser, f"{clips[0].name} waits: The connection was lost.")
    browser.network({})
    line.go_on()
    has_arrived(browser)
    assert line.offsets[-1] > 0
    stored(weir, clips[0])


def test_cut_half_way_reload_choose_it_again_and_play(browser, slow, line, weir, worker, clips, tmp_path):
    slow(breaks=True, **DESKTOP)
    choose(browser, clips[0])
    is_under_way(browser, 0.25)
    line.stop()
    browser.wait_for(f"({SAYS}).includes('Trying again')")
    line.go_on()
    browser.reload()
    browser.wait_for(f"({SAYS}).includes(' arrived. To go on, choose the same file again.')")
    assert browser.evaluate(VIDEOS) == 0, "what stands above need not stand below"
    picture(browser, "upload-after-reload")
    browser.network({})
    other = tmp_path / clips[0].name
    other.write_bytes(clips[0].read_bytes()[:-1] + b"x")  # name and size are the same
    browser.answerChooser([str(other)], {"selector": ".upload .act"})
    browser.wait_for("document.getElementById('notice').textContent.startsWith('That is another file.')")
    assert browser.evaluate(STATES) == ["earlier"]
    before = len(line.offsets)
    browser.answerChooser([str(clips[0])], {"selector": ".upload .act"})
    has_arrived(browser)
    assert line.offsets[before] > 0 and line.count("POST") == 1
    stored(weir, clips[0])
    worker()
    browser.wait_for("document.querySelector('.video.playable')", 60)
    browser.click(".video a")
    browser.plays()


def test_the_main_field_finds_what_was_begun(browser, slow, line, weir, clips):
    slow(breaks=True)
    choose(browser, clips[0])
    is_under_way(browser)
    browser.reload()
    browser.wait_for(f"({SAYS}).includes('choose the same file again')")
    before = len(line.offsets)
    browser.network({})
    choose(browser, clips[1], clips[0])
    has_arrived(browser, 2)
    assert sorted(line.offsets[before:])[0] == 0 < sorted(line.offsets[before:])[1]
    stored(weir, clips[0]), stored(weir, clips[1])


def test_a_browser_that_was_killed(browser, line, weir, clips, tmp_path):
    browser.homes.append(line.url)
    browser.openKillable(f"{line.url}/", str(tmp_path))
    browser.network({"up": SLOW})
    choose(browser, clips[0])
    is_under_way(browser)
    kept = tmp_path / "Default/Local Storage/leveldb"
    wait_for(lambda: any(b"weir-" in log.read_bytes() for log in kept.glob("*.log")), 20, "the browser's own note")
    browser.kill()
    browser.openKillable(f"{line.url}/", str(tmp_path))
    browser.wait_for(f"({SAYS}).includes(' arrived. To go on, choose the same file again.')")
    before = len(line.offsets)
    choose(browser, clips[0])
    has_arrived(browser)
    assert line.offsets[before] > 0
    stored(weir, clips[0])
    browser.kill()


def test_a_gateway_in_trouble_does_not_begin_it_again(browser, slow, line, weir, clips):
    slow(breaks=True)
    choose(browser, clips[0])
    is_under_way(browser, 0.2)
    browser.click(".upload .act")
    line.bad_heads = 2
    browser.click(".upload .act")
    browser.wait_for(f"({SAYS}).startsWith('The server can’t take it now. Trying again in')")
    browser.network({})
    has_arrived(browser)
    assert line.bad_heads == 0 < line.offsets[-1] and line.count("POST") == 1
    stored(weir, clips[0])


def test_a_full_queue_is_waited_for(browser, page, line, weir, worker, clips):
    tight = weir.start_api(QUEUE_MAX=1)
    line.server = int(tight.url.rsplit(":", 1)[1])
    try:
        page(breaks=True)
        weir.upload(clips[1].read_bytes(), api=tight)
        choose(browser, clips[0])
        browser.wait_for(f"/^The server’s queue of videos is full at the moment. Trying again in \\d+ s.$/"
                         f".test({SAYS})")
        news(browser, "waits: The server’s queue of videos is full at the moment.")
        worker()
        has_arrived(browser, 2, 60)
        stored(weir, clips[0])
    finally:
        tight.stop()


def test_files_that_are_no_good(browser, slow, tmp_path, clips):
    slow()
    notice = "document.getElementById('notice').textContent"
    (tmp_path / "empty.mp4").touch()
    choose(browser, tmp_path / "empty.mp4")
    browser.wait_for(f"{notice} === 'empty.mp4 is empty.'")
    choose(browser, clips[0])
    is_under_way(browser)
    choose(browser, clips[0])
    browser.wait_for(f"{notice} === '{clips[0].name} is in the list already.'")
    browser.dragFiles([str(tmp_path)], 100, 100, ["dragEnter", "dragOver", "drop"])
    browser.wait_for(f"{notice}.startsWith('A folder can’t be uploaded.')")
    browser.click(".upload .cancel")
    browser.click("#yes")
    browser.wait_for("document.querySelectorAll('.upload').length === 0")


def test_two_tabs_do_not_take_each_other_for_given_up(browser, slow, line, clips):
    slow()
    choose(browser, clips[0])
    is_under_way(browser)
    browser.openTab(f"{line.url}/")
    browser.wait_for("!document.getElementById('library-note').textContent.startsWith('Loading')")
    choose(browser, clips[0])
    browser.wait_for("document.getElementById('notice').textContent.endsWith('is being uploaded in another tab.')")
    assert browser.evaluate(STATES) == []
    browser.backToFirstTab()
    assert browser.evaluate(STATES) == ["uploading"]


def test_watching_does_not_end_an_upload(browser, slow, line, weir, worker, clips):
    worker()
    video = weir.upload(clips[1])
    link = weir.wait_for_state(video["id"], "completed")["links"]["watch"]
    slow()
    choose(browser, clips[0])
    is_under_way(browser)
    browser.click(".video a")
    wait_for(lambda: browser.pages() == [f"{line.url}/", link], 10, "another tab")
    assert browser.evaluate(STATES) == ["uploading"]


# --- the list ---

def test_a_failed_one_says_why_is_tried_again_and_deleted(browser, page, line, weir, worker):
    worker()
    video = weir.upload(b"This is not a video. " * 100, filename="letter.mp4")
    error = weir.wait_for_state(video["id"], "failed")["error"]
    page()
    browser.wait_for(f"document.querySelector('.video .state').textContent === "
                     f"{json.dumps('Could not be prepared: ' + error)}")
    browser.click(".video .retry")
    wait_for(lambda: weir.video(video["id"])["updated_at"] > video["updated_at"], 10, "a retry")
    assert line.count("POST /api/v1/videos/.*/retry") == 1
    news(browser, "letter.mp4 could not be prepared")
    browser.click(".video .delete")
    browser.wait_for("question.textContent === 'Delete letter.mp4? It can’t be brought back.'")
    browser.press("Enter")  # the focus is on the harmless answer
    browser.wait_for("!document.getElementById('ask').open")
    assert weir.video(video["id"])
    browser.click(".video .delete")
    browser.click("#yes")
    browser.wait_for(f"{VIDEOS} === 0 && document.activeElement.id === 'library-title'")
    assert weir.video(video["id"]) is None
    news(browser, "letter.mp4 is deleted.")


def test_more_than_one_page(browser, page, line, weir):
    for n in range(30):
        weir.upload(b"x", filename=f"{n:02}.mp4")
    page()
    assert browser.evaluate(VIDEOS) == 24
    browser.click("#more")
    browser.wait_for(f"{VIDEOS} === 30 && document.getElementById('more').hidden")
    names = browser.evaluate("[...document.querySelectorAll('.video .name')].map((name) => name.textContent)")
    assert names == [f"{n:02}.mp4" for n in reversed(range(30))]
    assert browser.evaluate("document.activeElement.closest('.video')?.querySelector('.name').textContent") == "05.mp4"
    weir.upload(b"y", filename="30.mp4")
    browser.wait_for("document.querySelector('.video .name').textContent === '30.mp4'")


def test_says_when_the_list_cannot_be_read(browser, page, line, weir):
    weir.upload(b"x")
    page(breaks=True)
    line.stop()
    browser.wait_for("document.getElementById('library-note').textContent.startsWith('The list can’t be read:')")
    assert browser.evaluate(VIDEOS) == 1, "what was read stays"
    weir.upload(b"y")
    line.go_on()
    browser.wait_for(f"{VIDEOS} === 2 && document.getElementById('library-note').hidden", 40)


def test_what_fails_for_good_is_not_tried_again(browser, page, line, weir, clips):
    page(breaks=True)
    browser.evaluate("void (title.value = 'x'.repeat(201))")
    choose(browser, clips[0])
    browser.wait_for(f"{STATES}.join() === 'failed' && ({SAYS}).includes('201 characters')")
    assert browser.evaluate("document.querySelector('.upload .act').hidden")
    browser.click(".upload .cancel")
    browser.wait_for(f"{STATES}.length === 0")
    assert weir.videos() == []


# --- without ---

def test_without_javascript(browser, page, weir, clips):
    assert page(javaScriptEnabled=False, breaks=True, **PHONE) == 200  # JSON has no icon
    picture(browser, "upload-no-javascript")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browser.click("#title")
    browser.type("By hand")
    choose(browser, clips[0])
    browser.click("button[type=submit]")
    browser.wait_for("document.body.innerText.includes('\"state\":')")
    video = json.loads(browser.evaluate("document.body.innerText"))
    assert (video["title"], video["state"], video["filename"]) == ("By hand", "waiting", clips[0].name)
    stored(weir, clips[0])


def tab_to(browser, found, most=30):
    """Presses Tab until the expression is true of the focused element, which must show that it is focused."""
    for _ in range(most):
        browser.press("Tab")
        if browser.evaluate(f"((at) => {found})(document.activeElement)"):
            assert browser.evaluate("[null, '::after'].some((part) => "
                                    "getComputedStyle(document.activeElement, part).outlineStyle === 'solid')")
            return
    raise AssertionError(f"Tab does not come to what is {found}")


def test_with_the_keyboard_alone(browser, slow, weir, worker, clips):
    slow(**DESKTOP)
    tab_to(browser, "at.id === 'title'")
    browser.type("Keys only")
    tab_to(browser, "at.id === 'file'")
    picture(browser, "upload-focus")
    browser.answerChooser([str(clips[0])], {"key": "Enter"})
    is_under_way(browser)
    tab_to(browser, "at.matches('.upload .act')")
    browser.press(" ")
    browser.wait_for(f"({SAYS}).startsWith('Paused')")
    browser.network({})
    browser.press(" ")
    has_arrived(browser)
    assert browser.evaluate("document.activeElement.id") == "file", "the line is gone, the focus is not"
    worker()
    browser.wait_for("document.querySelector('.video.playable')", 60)
    tab_to(browser, "at.matches('.video .delete')")
    browser.press("Enter")
    browser.press("Escape")
    browser.wait_for("document.activeElement.matches('.video .delete')")
    browser.press("Shift+Tab")
    assert browser.evaluate("document.activeElement.textContent") == "Keys only"
    browser.press("Enter")
    browser.plays()


def test_enter_in_the_title_asks_for_files(browser, page, weir, clips):
    page()
    browser.click("#title")
    browser.type("Typed first")
    browser.answerChooser([str(clips[0])], {"key": "Enter"})
    has_arrived(browser)
    assert stored(weir, clips[0])["title"] == "Typed first"


# --- for everybody ---

def with_everything(browser, page, weir, worker, clips, **options):
    """A page that shows all there is: uploads under way, paused and in line, and videos in several states."""
    running = worker()
    for data, title in ((b"no video" * 99, "Notes that were taken for a film"),
                        (clips[0], "Low tide at the old harbour")):
        video = weir.upload(data, title=title)
        weir.wait_for_state(video["id"], "failed", "completed")
    running.stop()
    weir.upload(clips[1], title="Boats")
    page(**options)
    browser.wait_for("document.querySelector('.video img.there')")
    browser.network({"up": SLOW})
    choose(browser, *clips[:4])
    browser.wait_for(f"{STATES}.length === 4")
    is_under_way(browser, 0.05)
    browser.click(".upload:nth-child(2) .act")
    browser.wait_for("document.querySelector('.upload:nth-child(3) .state').textContent.endsWith(' left')")


@pytest.mark.parametrize("name, options", [
    ("desktop", DESKTOP),
    ("desktop-dark", DESKTOP | {"colorScheme": "dark"}),
    ("phone", PHONE),
    ("phone-dark", PHONE | {"colorScheme": "dark"}),
    ("phone-small", PHONE | {"viewport": {"width": 360, "height": 640}}),
])
def test_fits_every_screen_and_every_reader(browser, page, weir, worker, clips, name, options):
    with_everything(browser, page, weir, worker, clips, reducedMotion="reduce", **options)
    picture(browser, f"upload-{name}", True)
    assert browser.axe() == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"
    small = browser.evaluate("""[...document.querySelectorAll('button, input, .brand, a[href]')]
        .filter((one) => one.checkVisibility()).map((one) => [one, one.matches('h3 a') ? one.closest('li') : one])
        .map(([one, box]) => [one.outerHTML, box.getBoundingClientRect()])
        .filter(([, box]) => box.width < 44 || box.height < 44).map(([html]) => html)""")
    assert small == [], "large enough for a thumb"
    assert browser.evaluate("document.getAnimations().length") == 0


def test_what_a_screen_reader_finds(browser, page, weir, worker, clips):
    with_everything(browser, page, weir, worker, clips)
    tree = browser.aria()
    for part in ('- heading "Upload a video" [level=1]', '- textbox "Title (optional)"', '- region "Uploads"',
                 f'- progressbar "Upload of {clips[0].name}"', f'- button "Pause {clips[0].name}"',
                 f'- button "Resume {clips[1].name}"', f'- button "Cancel {clips[3].name}"', '- region "Videos"',
                 '- heading "Low tide at the old harbour" [level=3]', '- link "Low tide at the old harbour"',
                 '- button "Try again Notes that were taken for a film"', '- button "Delete Boats"', "- status"):
        assert part in tree, f"{part}\n{tree}"
    changes = browser.evaluate("""new Promise((done) => {
        let changes = 0;
        new MutationObserver(() => changes++).observe(news, {childList: true, subtree: true});
        const [row] = document.querySelectorAll('.upload progress'), begun = row.value;
        (function look() { row.value - begun > 0.05 ? done(changes) : setTimeout(look, 50); })();
    })""")
    assert changes == 0, "progress is there to be asked for, not to be read out"
