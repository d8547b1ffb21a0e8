"""Workers that die, freeze, are cut off or told to stop. Numbers are those of the fault cases."""

import json
import os
import re
import resource
import signal
import time

import pytest

from transcoding import media
from weirtest import Weir, wait_for
from working import (Gate, HoldingProxy, RedisProxy, alive, check_settled, children, collect, count, outcomes, scratch, start_api,
                     start_obedient, starts, upload, versions, wait_for_child)

LEASE_S = 3.0  # JOB_LEASE_MS of weirtest
SLACK_S = 5.0  # what a busy machine may add to a bound in time


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


@pytest.fixture
def proxied(tmp_path, minio, redis):
    """A weir whose store can be made to misbehave: proxied.store."""
    store = HoldingProxy(minio, re.sub(r"[^a-z0-9]", "-", tmp_path.name.lower())[-40:].strip("-"))
    weir = Weir(tmp_path, store, redis)
    try:
        yield weir
    finally:
        weir.stop()
        store.close()


@pytest.fixture
def line(redis):
    """A worker's own line to Redis, which can be cut."""
    proxy = RedisProxy(redis)
    try:
        yield proxy
    finally:
        proxy.close()


# --- 19: the queue ---

def test_19_an_id_twice_in_the_list_is_run_once(weir_dir):
    start_api(weir_dir)
    video_id = upload(weir_dir, ["segment"], ["sleep", 0.5])
    for _ in range(3):
        weir_dir.redis.call("LPUSH", "{weir}:wait:default:1", f"{video_id}.1")
    start_obedient(weir_dir, "-c", "3")
    weir_dir.wait_for_state(video_id, "completed")
    time.sleep(1.5)
    assert starts(weir_dir, video_id) == 1
    check_settled(weir_dir, video_id)


# --- 9, 13, 16, 17: death ---

def test_09_killed_in_mid_encode_is_taken_over(weir, gate):
    start_api(weir)
    first = start_obedient(weir)
    video_id = upload(weir, ["segment"], ["segment"], ["until", gate.path])
    child = wait_for_child(first)
    wait_for(lambda: len(weir.processed_keys(f"{video_id}/")) == 2, 10, "two segments")
    second = start_obedient(weir)
    before = time.monotonic()
    first.kill()
    wait_for(lambda: not alive(child), 2, "the child to die with its worker")
    wait_for(lambda: children(second), 10, "the other worker to take over")
    assert time.monotonic() - before < LEASE_S + 2 + SLACK_S
    gate.open()
    video = weir.wait_for_state(video_id, "completed")
    assert video["attempts"] == 2 and count(weir, video_id, "stalls") == 1
    outcome = check_settled_but_scratch(weir, video_id)
    assert len(versions(weir, video_id)) == 2
    collect(weir)
    assert versions(weir, video_id) == {outcome["version"]}
    first.start_again().wait_until_ready()
    assert scratch(weir) == []


def check_settled_but_scratch(weir, video_id):
    """A dead worker's scratch directory stays until the next start on that host."""
    for name in scratch(weir):
        os.rename(weir.folder / "scratch" / name, weir.folder / "scratch" / f"set-aside-{name}")
    found = check_settled(weir, video_id)
    for name in scratch(weir):
        os.rename(weir.folder / "scratch" / name, weir.folder / "scratch" / name.removeprefix("set-aside-"))
    return found


def test_13_the_real_child_dies_with_its_worker(weir_dir):
    start_api(weir_dir)
    worker = weir_dir.start_worker(LADDER="240", X264_PRESET="placebo")
    weir_dir.upload(media("long.mp4"))
    child = wait_for_child(worker)
    worker.kill()
    wait_for(lambda: not alive(child), 2, "the child to die")


def test_16_killed_after_the_segments_before_the_outcome(proxied, gate):
    start_api(proxied)
    first = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(first)
    proxied.store.hold_answer = r"PUT .*/master\.m3u8"
    gate.open()
    wait_for(lambda: any(key.endswith("master.m3u8") for key in proxied.processed_keys(f"{video_id}/")), 10, "the master")
    first.kill()
    proxied.store.hold_answer = None
    assert outcomes(proxied, video_id) == {} and not proxied.video(video_id)["playable"]
    start_obedient(proxied)
    assert proxied.wait_for_state(video_id, "completed")["attempts"] == 2
    outcome = check_settled_but_scratch(proxied, video_id)
    collect(proxied)
    assert versions(proxied, video_id) == {outcome["version"]}


def test_17_killed_after_the_outcome_before_the_ack(proxied, gate):
    start_api(proxied)
    first = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(first)
    proxied.store.hold_answer = rf"PUT .*\.outcomes/{video_id}/"
    gate.open()
    wait_for(lambda: outcomes(proxied, video_id), 15, "the outcome")
    first.kill()
    assert proxied.video(video_id)["state"] == "active"
    second = start_obedient(proxied)
    assert proxied.wait_for_state(video_id, "completed")["playable"]
    assert starts(proxied, video_id) == 1 and children(second) == []
    assert versions(proxied, video_id) == {check_settled_but_scratch(proxied, video_id)["version"]}


def test_32_the_answer_to_the_outcome_is_lost(proxied, gate):
    start_api(proxied)
    worker = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(worker)
    proxied.store.cut_what, proxied.store.cut_after = rf"PUT .*\.outcomes/{video_id}/", 0
    gate.open()
    wait_for(lambda: outcomes(proxied, video_id), 15, "the outcome")
    proxied.store.cut_after = None
    assert proxied.wait_for_state(video_id, "completed")["attempts"] == 1
    assert "somebody else was first" not in worker.log
    check_settled(proxied, video_id)


# --- 10: frozen ---

FREEZE_AT = ["transcode", "upload", "verify", "confirm", "publish"]


@pytest.mark.parametrize("step", FREEZE_AT)
def test_10_frozen_past_its_lease(weir, gate, step):
    """Wherever it is frozen: one outcome, whole, and the other's output goes."""
    start_api(weir)
    first = start_obedient(weir)
    video_id = upload(weir, ["segment"], ["until", gate.path])
    wait_for_child(first)
    if step == "transcode":
        first.pause()
        gate.open()
    else:
        gate.open()
        wait_for(lambda: re.search(rf"step service.*name=\"?{step}", first.log), 10, step, every=0.0005)
        first.pause()
    second = start_obedient(weir)
    video = weir.wait_for_state(video_id, "completed")
    first.resume()
    first.wait_for_log(r"job left")
    assert video["attempts"] <= 2
    outcome = check_settled(weir, video_id)
    assert first.running and second.running
    collect(weir)
    assert versions(weir, video_id) == {outcome["version"]}


def test_10_frozen_with_its_outcome_on_the_way(proxied, gate):
    """The outcome of a worker that lost its lease long ago arrives after the winner's."""
    start_api(proxied)
    first = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(first)
    proxied.store.hold_request = rf"PUT \S+/\.outcomes/{video_id}/"
    gate.open()
    assert proxied.store.held.wait(15)
    first.pause()
    start_obedient(proxied)
    assert proxied.wait_for_state(video_id, "completed")["attempts"] == 2
    winner = outcomes(proxied, video_id)[1]["version"]
    proxied.store.let_go.set()
    first.resume()
    first.wait_for_log("somebody else was first")
    first.wait_for_log("job left")
    assert check_settled(proxied, video_id)["version"] == winner
    assert versions(proxied, video_id) == {winner}


def test_10_frozen_after_its_outcome(proxied, gate):
    """A complete outcome that was first is right, though its worker is stale by the time it hears of it."""
    start_api(proxied)
    first = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(first)
    proxied.store.hold_answer = rf"PUT .*\.outcomes/{video_id}/"
    gate.open()
    assert proxied.store.held.wait(15)
    first.pause()
    start_obedient(proxied)
    proxied.wait_for_state(video_id, "completed")
    proxied.store.let_go.set()
    first.resume()
    first.wait_for_log("job left")
    assert starts(proxied, video_id) == 1
    assert versions(proxied, video_id) == {check_settled(proxied, video_id)["version"]}


# --- 11, 12, 35: children ---

def test_11_a_child_that_hangs_fails_the_attempt(weir_dir):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, TRANSCODE_STALL_MS=1500, JOB_ATTEMPTS=2)
    video_id = upload(weir_dir, ["segment"], ["hang"])
    child = wait_for_child(worker)
    wait_for(lambda: not alive(child), 8, "the watchdog")
    video = weir_dir.wait_for_state(video_id, "failed")
    assert "no progress" in video["error"] and video["attempts"] == 2
    assert count(weir_dir, video_id, "stalls") == 0
    check_settled(weir_dir, video_id, "failed")


def test_11_progress_keeps_the_watchdog_quiet(weir_dir):
    start_api(weir_dir)
    start_obedient(weir_dir, TRANSCODE_STALL_MS=3000)
    gate = Gate(weir_dir.folder)
    video_id = upload(weir_dir, ["segment"], ["until", gate.path])
    time.sleep(6)
    gate.open()
    assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_12_a_poison_video_ends_failed_and_nothing_else_notices(weir_dir, number):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, JOB_ATTEMPTS=3, JOB_BACKOFF_MS=10)
    poison = upload(weir_dir, ["segment"], ["kill", number])
    good = [upload(weir_dir, ["segment"]) for _ in range(3)]
    video = weir_dir.wait_for_state(poison, "failed")
    assert video["attempts"] == 3 and f"signal {number:d}" in video["error"]
    check_settled(weir_dir, poison, "failed")
    for video_id in good:
        assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1
    assert worker.running
    assert [v["id"] for v in weir_dir.videos("?state=failed")] == [poison]
    assert len(versions(weir_dir, poison)) <= 2  # the last attempt, which wrote the outcome, has removed its own
    collect(weir_dir)
    assert versions(weir_dir, poison) == set()


def test_12_workers_that_die_of_a_video_end_it(weir_dir):
    """Lost leases count too, whoever lost them."""
    start_api(weir_dir)
    video_id = upload(weir_dir, ["segment"], ["hang"])
    for _ in range(2):
        worker = start_obedient(weir_dir, JOB_MAX_STALLS=2, JOB_LEASE_MS=1000)
        wait_for_child(worker)
        worker.kill()
    start_obedient(weir_dir, JOB_MAX_STALLS=2, JOB_LEASE_MS=1000)
    video = weir_dir.wait_for_state(video_id, "failed")
    assert starts(weir_dir, video_id) == 2 and "workers" in video["error"]
    assert outcomes(weir_dir, video_id)[1]["outcome"] == "failed"
    assert weir_dir.redis.call("ZCARD", "{weir}:open") == 0


def test_35_a_full_disk_is_tried_again_and_leaves_nothing(weir_dir):
    """The limit on file sizes stands for a disk that takes no more."""
    start_api(weir_dir)
    worker = start_obedient(weir_dir, JOB_ATTEMPTS=2, JOB_BACKOFF_MS=10)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
    video_id = upload(weir_dir, ["segment"], ["segment", 3 << 20])
    video = weir_dir.wait_for_state(video_id, "failed")
    assert video["attempts"] == 2
    check_settled(weir_dir, video_id, "failed")
    assert scratch(weir_dir) == []


# --- 14, 20: Redis away ---

def test_14_cut_off_from_redis_goes_on_and_publishes(weir_dir, line, gate):
    api = start_api(weir_dir)
    worker = start_obedient(weir_dir, REDIS_PORT=line.port, JOB_LEASE_MS=1000)
    video_id = upload(weir_dir, ["segment"], ["until", gate.path])
    child = wait_for_child(worker)
    api.stop()  # nobody is left who could take the job away
    line.set_cut(True)
    worker.wait_for_log("longer than the lease, going on")
    time.sleep(2)
    assert alive(child)
    line.set_cut(False)
    worker.wait_for_log("the job is still ours")
    gate.open()
    api.start_again().wait_until_ready()
    video = weir_dir.wait_for_state(video_id, "completed")
    assert video["attempts"] == 1 and starts(weir_dir, video_id) == 1
    check_settled(weir_dir, video_id)


def test_14_cut_off_and_overtaken_stops_when_it_learns_so(weir_dir, line, gate):
    start_api(weir_dir)
    first = start_obedient(weir_dir, REDIS_PORT=line.port)
    video_id = upload(weir_dir, ["segment"], ["until", gate.path])
    child = wait_for_child(first)
    second = start_obedient(weir_dir)
    line.set_cut(True)
    wait_for(lambda: children(second), 10, "the other worker to take over")
    assert alive(child)  # it can't know yet
    line.set_cut(False)
    wait_for(lambda: not alive(child), 10, "the first one to learn so")
    assert children(second)
    gate.open()
    weir_dir.wait_for_state(video_id, "completed")
    first.wait_for_log("result=stale")
    check_settled(weir_dir, video_id)
    assert len(outcomes(weir_dir, video_id)) == 1


def test_14_redis_away_from_everybody_for_two_leases(weir_dir, gate):
    start_api(weir_dir)
    workers = [start_obedient(weir_dir, JOB_LEASE_MS=1500) for _ in range(2)]
    ids = [upload(weir_dir, ["segment"], ["until", gate.path]) for _ in range(2)]
    wait_for(lambda: all(children(w) for w in workers), 15, "both to work")
    weir_dir.redis.kill()
    time.sleep(3.2)
    weir_dir.redis.start()
    time.sleep(2)
    gate.open()
    for video_id in ids:
        assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1
        assert starts(weir_dir, video_id) == 1 and count(weir_dir, video_id, "stalls") == 0
        check_settled(weir_dir, video_id)


def test_14_without_redis_for_too_long_the_work_ends(weir_dir, gate):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, ORPHAN_MAX_MS=2000, JOB_LEASE_MS=1000)
    video_id = upload(weir_dir, ["segment"], ["until", gate.path])
    child = wait_for_child(worker)
    weir_dir.redis.kill()
    wait_for(lambda: not alive(child), 15, "the orphan to end")
    weir_dir.redis.start()
    gate.open()
    weir_dir.wait_for_state(video_id, "completed")
    check_settled(weir_dir, video_id)


def test_20_redis_killed_and_restarted_in_mid_encode(weir_dir, gate):
    start_api(weir_dir)
    worker = start_obedient(weir_dir)
    running = upload(weir_dir, ["segment"], ["until", gate.path])
    child = wait_for_child(worker)
    waiting = upload(weir_dir, ["segment"])
    weir_dir.redis.restart()
    time.sleep(1)
    assert children(worker) == [child]
    gate.open()
    for video_id in (running, waiting):
        assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1
        check_settled(weir_dir, video_id)


def test_22_everything_lost_in_mid_encode(weir_dir, gate):
    """Three finished, one waiting, one active: all there again, nothing encoded twice but the active one at most."""
    start_api(weir_dir)
    worker = start_obedient(weir_dir)
    finished = [upload(weir_dir, ["segment"]) for _ in range(3)]
    for video_id in finished:
        weir_dir.wait_for_state(video_id, "completed")
    running = upload(weir_dir, ["segment"], ["until", gate.path])
    wait_for_child(worker)
    waiting = upload(weir_dir, ["segment"])
    weir_dir.redis.lose_everything()
    wait_for(lambda: weir_dir.redis.call("EXISTS", "{weir}:epoch"), 60, "the rebuild")
    gate.open()
    for video_id in finished + [running, waiting]:
        weir_dir.wait_for_state(video_id, "completed")
        check_settled(weir_dir, video_id)
    assert [starts(weir_dir, video_id) for video_id in finished + [waiting]] == [1] * 4
    assert starts(weir_dir, running) <= 2
    assert len(weir_dir.videos()) == 5


# --- 15: the store away ---

def test_15_the_store_away_in_mid_encode(weir_minio, gate):
    """Uploads and the source wait; the lease is held; nothing is published in part."""
    start_api(weir_minio)
    worker = start_obedient(weir_minio)
    more = Gate(weir_minio.folder, "more")
    video_id = upload(weir_minio, ["segment"], ["until", gate.path], ["segment", 100_000], ["until", more.path])
    child = wait_for_child(worker)
    weir_minio.store.server.kill()
    gate.open()
    time.sleep(LEASE_S + 2)
    assert children(worker) == [child] and weir_minio.redis.call("ZCARD", "{weir}:lease") == 1
    weir_minio.store.server.start()
    more.open()
    assert weir_minio.wait_for_state(video_id, "completed")["attempts"] == 1
    check_settled(weir_minio, video_id)


def test_15_the_store_away_for_too_long_fails_the_attempt(weir_minio, gate):
    start_api(weir_minio)
    worker = start_obedient(weir_minio, TRANSCODE_STALL_MS=3000, JOB_BACKOFF_MS=1)
    video_id = upload(weir_minio, ["segment"], ["until", gate.path], ["segment"], ["sleep", 300])
    child = wait_for_child(worker)
    weir_minio.store.server.kill()
    gate.open()
    wait_for(lambda: not alive(child), 60, "the attempt to fail")
    worker.wait_for_log("attempt failed")
    weir_minio.store.server.start()
    wait_for(lambda: count(weir_minio, video_id, "attempts") >= 2, 30, "the next attempt")
    assert outcomes(weir_minio, video_id) == {}


def test_15_the_source_breaks_off_in_the_middle(proxied, gate):
    start_api(proxied)
    start_obedient(proxied)
    data = json.dumps({"steps": [["segment"], ["until", gate.path], ["read", 5 << 20, 1 << 20], ["segment"]]}).encode()
    video_id = proxied.upload(data + b"\n" + os.urandom(8 << 20))["id"]
    wait_for(lambda: proxied.processed_keys(f"{video_id}/"), 10, "a segment")
    proxied.store.cut_what, proxied.store.cut_after = rf"GET .*{video_id}/source", 100_000
    gate.open()
    time.sleep(1)
    proxied.store.cut_after = None
    assert proxied.wait_for_state(video_id, "completed")["attempts"] == 1
    check_settled(proxied, video_id)


# --- 28: cancel, and delete ---

def test_28_cancel_while_active(weir, gate):
    start_api(weir)
    worker = start_obedient(weir)
    video_id = upload(weir, ["segment"], ["until", gate.path])
    child = wait_for_child(worker)
    wait_for(lambda: weir.processed_keys(f"{video_id}/"), 10, "a segment")
    before = time.monotonic()
    answer = weir.api().request("POST", f"/api/v1/videos/{video_id}/cancel")
    assert answer.status in (200, 202), answer
    wait_for(lambda: not alive(child), 5, "the child to stop")
    assert time.monotonic() - before < LEASE_S / 3 + SLACK_S
    weir.wait_for_state(video_id, "cancelled")
    check_settled(weir, video_id, "cancelled")
    wait_for(lambda: versions(weir, video_id) == set(), 5, "its output to go")
    wait_for(lambda: worker.metric('weir_worker_jobs_total{result="cancelled"}') == 1, 5, "the job to be counted")
    # afterwards it can be asked for again
    gate.open()
    assert weir.api().request("POST", f"/api/v1/videos/{video_id}/retry").status in (200, 201, 202)
    weir.wait_for_state(video_id, "completed")
    assert check_settled(weir, video_id, generation=2)["version"].startswith("2-")


def test_29_cancel_first_publish_second(proxied, gate):
    start_api(proxied)
    worker = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(worker)
    proxied.store.hold_request = rf"PUT \S+/\.outcomes/{video_id}/"
    gate.open()
    assert proxied.store.held.wait(15)
    assert proxied.api().request("POST", f"/api/v1/videos/{video_id}/cancel").status in (200, 202)
    proxied.store.let_go.set()
    proxied.wait_for_state(video_id, "cancelled")
    worker.wait_for_log("job left")
    check_settled(proxied, video_id, "cancelled")
    assert versions(proxied, video_id) == set()


def test_29_publish_first_cancel_second(proxied, gate):
    start_api(proxied)
    worker = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(worker)
    proxied.store.hold_answer = rf"PUT .*\.outcomes/{video_id}/"
    gate.open()
    assert proxied.store.held.wait(15)
    proxied.store.hold_answer = None
    assert proxied.api().request("POST", f"/api/v1/videos/{video_id}/cancel").status == 409
    proxied.store.let_go.set()
    proxied.wait_for_state(video_id, "completed")
    check_settled(proxied, video_id)


def test_39_deleted_with_the_outcome_on_the_way(proxied, gate):
    start_api(proxied)
    worker = start_obedient(proxied)
    video_id = upload(proxied, ["segment"], ["until", gate.path])
    wait_for_child(worker)
    proxied.store.hold_request = rf"PUT \S+/\.outcomes/{video_id}/"
    gate.open()
    assert proxied.store.held.wait(15)
    assert proxied.api().request("DELETE", f"/api/v1/videos/{video_id}").status == 204
    proxied.store.let_go.set()
    worker.wait_for_log("job left")
    assert proxied.video(video_id) is None
    wait_for(lambda: versions(proxied, video_id) == set(), 5, "its output to go")
    assert proxied.raw_keys(f"{video_id}/") == []
    collect(proxied)
    assert proxied.video(video_id) is None


def test_39_delete_while_active(weir, gate):
    start_api(weir)
    worker = start_obedient(weir)
    video_id = upload(weir, ["segment"], ["until", gate.path])
    child = wait_for_child(worker)
    wait_for(lambda: weir.processed_keys(f"{video_id}/"), 10, "a segment")
    assert weir.api().request("DELETE", f"/api/v1/videos/{video_id}").status == 204
    wait_for(lambda: not alive(child), 5, "the child to stop")
    worker.wait_for_log("job left")
    assert weir.video(video_id) is None
    wait_for(lambda: versions(weir, video_id) == set() and scratch(weir) == [], 5, "everything to go")
    other = upload(weir, ["segment"])
    weir.wait_for_state(other, "completed")


# --- 33: SIGTERM ---

def test_33_sigterm_hands_back_what_would_take_too_long(weir_dir, gate):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, SHUTDOWN_GRACE_MS=10000)
    video_id = upload(weir_dir, ["segment"], ["until", gate.path])  # 54 s to go at speed 1
    child = wait_for_child(worker)
    wait_for(lambda: weir_dir.video(video_id)["progress"], 10, "progress")
    before = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - before < 2 + SLACK_S and not alive(child)
    video = weir_dir.video(video_id)
    assert video["state"] == "waiting" and video["attempts"] == 0 and count(weir_dir, video_id, "releases") == 1
    assert scratch(weir_dir) == []
    gate.open()
    start_obedient(weir_dir)
    assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1
    check_settled(weir_dir, video_id)


def test_33_sigterm_lets_finish_what_fits(weir_dir, gate):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, SHUTDOWN_GRACE_MS=10000)
    video_id = upload(weir_dir, *[["segment"]] * 9, ["hang", gate.path])  # 6 s to go at speed 1
    wait_for(lambda: (weir_dir.video(video_id)["progress"] or {}).get("percent") == 90, 10, "90 percent")
    waiting = upload(weir_dir, ["segment"])
    worker.signal(signal.SIGTERM)
    time.sleep(0.5)
    assert worker.running
    gate.open()
    assert worker.wait() == 0
    assert weir_dir.video(video_id)["state"] == "completed"
    check_settled(weir_dir, video_id)
    assert weir_dir.video(waiting)["state"] == "waiting" and count(weir_dir, waiting, "releases") == 0  # nobody took it


def test_33_sigterm_hands_back_what_did_not_keep_to_its_estimate(weir_dir):
    start_api(weir_dir)
    worker = start_obedient(weir_dir, SHUTDOWN_GRACE_MS=9000)
    video_id = upload(weir_dir, *[["segment"]] * 9, ["hang"])
    wait_for(lambda: (weir_dir.video(video_id)["progress"] or {}).get("percent") == 90, 10, "90 percent")
    before = time.monotonic()
    assert worker.stop() == 0
    assert 5 < time.monotonic() - before < 9 + SLACK_S
    assert weir_dir.video(video_id)["state"] == "waiting" and weir_dir.video(video_id)["attempts"] == 0


def test_33_sigterm_while_the_store_hangs(weir_minio, gate):
    start_api(weir_minio)
    worker = start_obedient(weir_minio, SHUTDOWN_GRACE_MS=3000)
    video_id = upload(weir_minio, ["segment"], ["until", gate.path], ["segment"], ["hang"])
    child = wait_for_child(worker)
    weir_minio.store.server.pause()
    gate.open()
    time.sleep(0.5)
    before = time.monotonic()
    worker.signal(signal.SIGTERM)
    wait_for(lambda: weir_minio.redis.hash(f"{{weir}}:video:{video_id}")["state"] == "waiting", 2, "the job to be handed back")
    assert not alive(child)
    assert worker.wait() == 0 and time.monotonic() - before < SLACK_S
    weir_minio.store.server.resume()


def test_33_rolling_restart_under_load(weir_dir):
    start_api(weir_dir)
    workers = [start_obedient(weir_dir, "-c", "2", SHUTDOWN_GRACE_MS=2500) for _ in range(2)]
    ids = [upload(weir_dir, ["segment"], ["sleep", 0.4], ["segment"], ["sleep", 0.4]) for _ in range(12)]
    for worker in workers:
        time.sleep(0.7)
        assert worker.stop() == 0
        start_obedient(weir_dir, "-c", "2")
    for video_id in ids:
        assert weir_dir.wait_for_state(video_id, "completed")["attempts"] == 1
        check_settled(weir_dir, video_id)
