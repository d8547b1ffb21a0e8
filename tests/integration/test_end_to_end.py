"""One video through everything: uploaded, transcoded, played, transcoded again, deleted."""

import subprocess

import pytest

from weirtest import wait_for


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=4", "-f", "lavfi", "-i",
                    "sine=d=4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac",
                    str(path)], check=True, timeout=120)
    return path


def get_playable(play, video):
    """Fetches whatever the playlists name, all the way down."""
    base = f"/v/{video['id']}/"
    pending, seen = ["master.m3u8"], set()
    while pending:
        path = pending.pop()
        answer = play.get(base + path)
        assert answer.status == 200 and answer.body, path
        seen.add(path)
        if not path.endswith(".m3u8"):
            continue
        folder = path.rpartition("/")[0]
        for line in answer.body.decode().splitlines():
            names = [line] if line and not line.startswith("#") else [
                part.split('"')[1] for part in line.split(",") if part.startswith("URI=")]
            new = [f"{folder}/{name}" if folder else name for name in names]
            pending += [name for name in new if name not in seen and name not in pending]
    return seen


def test_a_video_from_post_to_playback_and_away(weir, clip):
    play, api, worker = weir.start_play(), weir.start_api(), weir.start_worker()
    video = weir.upload(clip, title="A clip")
    assert video["links"].keys() == {"self"}

    video = weir.wait_for_state(video["id"], "completed", "failed", timeout=120)
    assert (video["state"], video["playable"], video["error"]) == ("completed", True, None)
    assert video["progress"] is None or video["progress"]["percent"] == 100
    assert (video["width"], video["height"]) == (640, 360) and abs(video["duration"] - 4) < 0.1
    assert video["renditions"] and all(r["bandwidth"] > 0 for r in video["renditions"])
    assert video["links"]["master"].startswith(play.url)
    assert len(get_playable(play, video)) > 3

    assert api.request("POST", f"/api/v1/videos/{video['id']}/retry").status == 202
    get_playable(play, video)  # meanwhile the first one plays on
    again = weir.wait_for_state(video["id"], "completed", timeout=120)
    assert again["attempts"] == 1 and worker.running
    assert len([k for k in weir.processed_keys(".outcomes/")]) == 2

    assert api.request("DELETE", f"/api/v1/videos/{video['id']}").status == 204
    wait_for(lambda: play.get(f"/v/{video['id']}/master.m3u8").status == 404, 5, "the video to stop playing")
    assert all(key.startswith(".outcomes/") for key in weir.processed_keys())
