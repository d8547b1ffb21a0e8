"""The ordinary life of jobs in workers: what is published, failures that are the input's, limits, start and end."""

import json
import os
import pathlib
import re
import time

import pytest

from transcoding import media
from weirtest import wait_for
from working import (Gate, check_settled, children, outcomes, scratch, start_api, start_obedient, starts, upload,
                     versions, wait_for_child)


def test_a_video_is_published(weir, tmp_path):
    """With the real transcoder, over both stores."""
    start_api(weir)
    worker = weir.start_worker(LADDER="240")
    video_id = weir.upload(media("plain.mp4"))["id"]
    video = weir.wait_for_state(video_id, "completed")
    outcome = check_settled(weir, video_id)
    assert video["attempts"] == 1 and video["playable"] and video["error"] is None
    assert [r["name"] for r in video["renditions"]] == ["240p"] and video["duration"] > 0
    assert f"{video_id}/{outcome['version']}/poster.jpg" in weir.processed_keys(f"{video_id}/")
    wait_for(lambda: worker.metric('weir_worker_jobs_total{result="completed"}') == 1, 5, "the job to be counted")
    wait_for(lambda: worker.metric("weir_worker_active") == 0, 5, "the slot to be free")
    assert worker.metric("weir_worker_source_bytes_total") > 0
    assert "step done" in worker.log and f"job={video_id}.1" in worker.log


def test_progress_is_saved_each_second(weir_dir):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, JOB_LEASE_MS=30000)
    gate = Gate(weir_dir.folder)
    video_id = upload(weir_dir, ["segment"], ["segment"], ["sleep", 1.5], ["segment"], ["until", gate.path])
    wait_for(lambda: (weir_dir.video(video_id)["progress"] or {}).get("percent") == 20, 5, "20 percent")
    wait_for(lambda: weir_dir.video(video_id)["progress"]["percent"] == 30, 5, "30 percent")
    progress = weir_dir.video(video_id)["progress"]
    assert progress == {"percent": 30.0, "fps": 25.0, "speed": 1.0, "eta_seconds": 42.0}
    assert re.search(r"transcoding .*percent=20", worker.log)
    gate.open()
    weir_dir.wait_for_state(video_id, "completed")
    check_settled(weir_dir, video_id)


def test_segments_are_uploaded_as_they_close(weir):
    start_api(weir)
    start_obedient(weir)
    gate = Gate(weir.folder)
    video_id = upload(weir, ["segment", 200_000], ["segment", 100], ["until", gate.path])
    wait_for(lambda: len(weir.processed_keys(f"{video_id}/")) == 2, 10, "two segments")
    left = [path for path in pathlib.Path(weir.folder / "scratch").rglob("*.ts")]
    wait_for(lambda: not [p for p in left if p.exists()], 5, "the uploaded files to go")
    assert outcomes(weir, video_id) == {}
    gate.open()
    weir.wait_for_state(video_id, "completed")
    check_settled(weir, video_id)


def test_what_is_no_video_fails_at_the_first_attempt(weir_dir):
    start_api(weir_dir)
    weir_dir.start_worker()
    video_id = weir_dir.upload(os.urandom(300_000))["id"]
    video = weir_dir.wait_for_state(video_id, "failed")
    assert video["attempts"] == 1 and "not a video" in video["error"]
    assert check_settled(weir_dir, video_id, "failed")["error"] == video["error"]
    assert versions(weir_dir, video_id) == set()


def test_a_permanent_error_is_the_uploaders_sentence(weir_dir):
    start_api(weir_dir)
    start_obedient(weir_dir)
    sentence = "Das Video ist länger als 12 Stunden."
    video_id = upload(weir_dir, ["segment"], ["fail", "permanent", sentence, 3])
    video = weir_dir.wait_for_state(video_id, "failed")
    assert video["error"] == sentence and video["attempts"] == 1
    check_settled(weir_dir, video_id, "failed")
    assert versions(weir_dir, video_id) == set()  # what it had uploaded is gone


def test_a_temporary_error_is_tried_again_with_back_off(weir_dir):
    start_api(weir_dir)
    start_obedient(weir_dir, JOB_BACKOFF_MS=1000)
    mark = str(weir_dir.folder / "mark")
    video_id = upload(weir_dir, ["segment"], ["once", mark, ["fail", "temporary", "no memory", 1]], ["segment"])
    video = weir_dir.wait_for_state(video_id, "completed")
    assert video["attempts"] == 2 and starts(weir_dir, video_id) == 2 and video["error"] is None
    check_settled(weir_dir, video_id)


def test_the_last_attempt_ends_with_the_last_error(weir_dir):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, JOB_ATTEMPTS=3, JOB_BACKOFF_MS=10)
    video_id = upload(weir_dir, ["say", "a word to the operator"], ["exit", 7])
    video = weir_dir.wait_for_state(video_id, "failed")
    assert video["attempts"] == 3 == starts(weir_dir, video_id)
    assert "exit status 7" in video["error"] and "a word to the operator" in video["error"]
    assert 'line="a word to the operator"' in worker.log
    check_settled(weir_dir, video_id, "failed")


HOSTILE = {
    "a file outside": [["tell", "file=../../../etc/passwd"]],
    "an absolute file": [["tell", "file=/etc/passwd"]],
    "a hidden file": [["make", ".hidden", "x"]],
    "a link": [["link", "seg.ts", "/etc/passwd"], ["tell", "file=seg.ts"]],
    "a link to a folder": [["link", "v720", "/etc"], ["tell", "file=v720/passwd"]],
    "a folder": [["write", "v720/x", "x"], ["tell", "file=v720"]],
    "a file that is not there": [["tell", "file=seg.ts"]],
    "a file twice": [["make", "seg.ts", "x"], ["make", "seg.ts", "x"]],
    "an endless line": [["tell", "x" * 5000]],
    "no key": [["tell", "hello"]],
    "a playlist that names nothing": [["make", "v1/index.m3u8", "#EXTM3U\n#EXTINF:6,\nnot_there.ts\n"]],
    "a playlist that names another video": [["make", "v1/index.m3u8", "#EXTM3U\n#EXTINF:6,\n../../../x.ts\n"]],
    "a playlist that is none": [["make", "v1/index.m3u8", "hello"]],
    "an endless playlist": [["fill", "v1/index.m3u8", 9 << 20]],
    "words without end": [*[["say", "x" * 10_000]] * 5, *[["say", "y\n" * 1000]] * 5, ["exit", 9]],
    "a closed progress": [["close", 1], ["sleep", 100]],
    "too much of the source": [["read", 0, 1 << 30]],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_child_publishes_nothing(weir_dir, what):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, JOB_ATTEMPTS=1, TRANSCODE_STALL_MS=20000)
    video_id = upload(weir_dir, ["segment"], *HOSTILE[what])
    weir_dir.wait_for_state(video_id, "failed")
    check_settled(weir_dir, video_id, "failed")
    assert versions(weir_dir, video_id) == set()
    assert worker.running and scratch(weir_dir) == [] and children(worker) == []
    assert len(worker.log) < 300_000


def test_concurrency_and_sharing(weir_dir):
    """Two workers with two slots each: four at once, none twice."""
    start_api(weir_dir)
    workers = [start_obedient(weir_dir, "-c", "2") for _ in range(2)]
    gate = Gate(weir_dir.folder)
    ids = [upload(weir_dir, ["segment"], ["until", gate.path]) for _ in range(6)]
    wait_for(lambda: [len(children(w)) for w in workers] == [2, 2], 15, "four children")
    assert sorted(v["state"] for v in weir_dir.videos()) == ["active"] * 4 + ["waiting"] * 2
    assert workers[0].metric("weir_worker_active") == 2
    gate.open()
    for video_id in ids:
        assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1
        assert starts(weir_dir, video_id) == 1
        check_settled(weir_dir, video_id)


def test_the_child_holds_nothing_of_the_worker(weir_minio):
    """No environment, no descriptor but its three and the source, its own group, no way to the credentials."""
    start_api(weir_minio)
    worker = start_obedient(weir_minio)
    gate = Gate(weir_minio.folder)
    video_id = upload(weir_minio, ["segment"], ["until", gate.path])
    child = pathlib.Path(f"/proc/{wait_for_child(worker)}")
    assert (child / "environ").read_bytes() == b""

    def descriptors():
        return {int(p.name) for p in (child / "fd").iterdir()}

    # as long as its interpreter starts it opens files of its own
    wait_for(lambda: descriptors() == {0, 1, 2, 3}, 10, "no descriptor but those four")
    fds = {fd: os.readlink(child / "fd" / str(fd)) for fd in descriptors()}
    assert fds[0] == "/dev/null" and fds[3].startswith("socket:")
    assert os.getpgid(int(child.name)) == int(child.name)
    status = (child / "status").read_text()
    assert "NoNewPrivs:\t1" in status
    # not dumpable: its files in /proc belong to root, whoever it runs as
    assert os.stat(f"/proc/{worker.pid}/environ").st_uid == 0
    assert weir_minio.store.server.password not in worker.log
    gate.open()
    weir_minio.wait_for_state(video_id, "completed")


def test_leftovers_of_dead_workers_are_removed_those_of_live_ones_not(weir_dir):
    start_api(weir_dir)
    folder = weir_dir.folder / "scratch"
    dead = folder / "v_01jd0000000000000000000000.1-0123456789abcdef"
    (dead / "v720").mkdir(parents=True)
    (dead / "v720/seg_00000.ts").write_bytes(b"x")
    (dead / "link").symlink_to("/etc")
    foreign = folder / "somebody-elses-files"
    foreign.mkdir()
    first = start_obedient(weir_dir)
    assert not dead.exists() and foreign.exists()
    gate = Gate(weir_dir.folder)
    video_id = upload(weir_dir, ["segment"], ["until", gate.path])
    wait_for_child(first)
    held = [name for name in scratch(weir_dir) if video_id in name]
    start_obedient(weir_dir)
    assert [name for name in scratch(weir_dir) if video_id in name] == held != []
    gate.open()
    weir_dir.wait_for_state(video_id, "completed")
    check_settled(weir_dir, video_id)


def transitions(weir):
    """The events of all videos in their order: (milliseconds, video, state)."""
    entries = weir.redis.call("XRANGE", "{weir}:events", "-", "+")
    events = [(when, dict(zip(fields[::2], fields[1::2]))) for when, fields in entries]
    return [(int(when.split("-")[0]), job.rpartition(".")[0], event["state"])
            for when, event in events for job in event["jobs"].split()]


def test_the_end_of_a_job_brings_the_next(weir_dir):
    """In one step with it: the slot neither waits for the bell nor asks again."""
    start_api(weir_dir)
    gate = Gate(weir_dir.folder)
    worker = start_obedient(weir_dir)
    ids = [upload(weir_dir, ["segment"], ["until", gate.path]), upload(weir_dir, ["segment"]), upload(weir_dir, ["segment"])]
    gate.open()
    for video_id in ids:
        weir_dir.wait_for_state(video_id, "completed")
        check_settled(weir_dir, video_id)
    moves = {(video, state): ms for ms, video, state in transitions(weir_dir)}
    for ended, begun in zip(ids, ids[1:]):
        assert moves[begun, "active"] - moves[ended, "completed"] in (0, 1)
    wait_for(lambda: worker.metric("weir_worker_active") == 0, 5, "the slot to be free")


def test_waits_for_redis_at_the_start(weir_dir):
    weir_dir.redis.kill()
    worker = start_obedient(weir_dir, ready=False)
    assert worker.get("/healthz").status == 200
    worker.wait_for_log(r"waiting service=worker for=.*Connection refused")
    answer = worker.get("/readyz")
    assert answer.status == 503 and "Connection refused" in answer.json()["detail"]
    weir_dir.redis.start()
    worker.wait_until_ready()
    start_api(weir_dir)
    weir_dir.wait_for_state(upload(weir_dir, ["segment"]), "completed")


def test_waits_for_the_store_at_the_start(weir_minio):
    weir_minio.store.server.kill()
    worker = start_obedient(weir_minio, ready=False)
    worker.wait_for_log(r"waiting service=worker for=.*store", timeout=40)
    assert worker.get("/readyz").status == 503
    weir_minio.store.server.start()
    worker.wait_until_ready(timeout=60)
    start_api(weir_minio)
    weir_minio.wait_for_state(upload(weir_minio, ["segment"]), "completed")


@pytest.mark.parametrize("down", ["redis", "nothing"])
def test_ends_at_once_when_idle(weir_dir, down):
    if down == "redis":
        weir_dir.redis.kill()
    worker = start_obedient(weir_dir, ready=down == "nothing")
    before = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - before < 8


def test_strict_durability_refuses_a_redis_that_may_lose(weir_dir):
    weir_dir.redis.call("CONFIG", "SET", "appendfsync", "everysec")
    worker = start_obedient(weir_dir, ready=False, REDIS_DURABILITY="strict")
    assert worker.wait() == 2 and "appendfsync" in worker.log
    assert "appendfsync" in start_obedient(weir_dir).log


def test_refuses_to_start_without_its_transcoder_or_scratch(weir_dir, tmp_path):
    worker = start_obedient(weir_dir)
    worker.stop()
    (weir_dir.folder / "obedient/weir-transcode").unlink()
    worker.start()
    assert worker.wait() == 2 and "weir-transcode is not beside" in worker.log


def test_metrics_are_there_from_the_start(weir_dir):
    worker = start_obedient(weir_dir)
    assert worker.metric("weir_worker_active") == 0
    assert json.loads(worker.get("/readyz").body)["ready"] is True
