"""Uploads by tus when something dies, freezes or lies. Numbers are those of the fault cases."""

import os
import random
import re
import threading
import time

import pytest

from tus_faults import BurstingProxy, ReplyLosingProxy, check_settled, client_of, in_background
from weirtest import MinioStore, Weir, wait_for
from weirtest.tus import LineClosed, checksum, is_retriable, metadata
from weirtest.tus_servers import video_id
from working import HoldingProxy

MIB = 1024 * 1024
COMPLETE = r"^POST /[^ ]*/source\?uploadId="


@pytest.fixture
def faulty(request, tmp_path, own_minio, redis):
    """Weir on a MinIO behind a proxy of the class that the test names."""
    proxy = request.param(own_minio, "own")
    weir = Weir(tmp_path, proxy, redis)
    try:
        yield weir
    finally:
        proxy.close()
        weir.stop()


def start_beside(weir):
    """A replica that reaches the store without the proxy."""
    return weir.start_api(MINIO_ENDPOINT=f"http://127.0.0.1:{weir.store.server.port}")


def recorded(tus, url, least=1):
    """An offset that was given while a PATCH is under way."""
    return wait_for(lambda: (lambda offset: offset >= least and offset)(tus.offset(url)), 20, f"an offset of {least}")


# --- replicas ---

def test_every_patch_at_another_replica(weir):
    tus = [client_of(weir.start_api()), client_of(weir.start_api())]
    data = os.urandom(10 * MIB)
    url = tus[0].create(len(data))
    offset, n = 0, 0
    steps = random.Random(7)
    while offset < len(data):
        answer = tus[n % 2].patch(url, offset, data[offset:offset + steps.choice((1, 70_000, 300_000, 2 * MIB))])
        assert answer.status == 204, answer
        offset, n = answer.offset, n + 1
        assert tus[n % 2].offset(url) == offset
    check_settled(weir, url, data)


def test_01_killed_in_mid_patch(weir):
    api, other = weir.start_api(), weir.start_api()
    tus, there = client_of(api), client_of(other)
    data = os.urandom(24 * MIB)
    url = tus.create(len(data))
    tus.patch(url, 0, data[:1000])
    with tus.open_patch(url, 1000, len(data) - 1000) as line:
        line.send(data[1000:20 * MIB])
        told = recorded(there, url, 1001)
        api.kill()
    there.resume(url, data, acknowledged=told)
    check_settled(weir, url, data, killed=True)


@pytest.mark.parametrize("faulty", [HoldingProxy], indirect=True)
def test_02_killed_before_complete(faulty):
    api, other = faulty.start_api(), start_beside(faulty)
    data = os.urandom(9 * MIB)
    url = client_of(api).create(len(data))
    faulty.store.hold_request = COMPLETE
    with client_of(api).open_patch(url, 0, len(data)) as line:
        line.send(data)
        assert faulty.store.held.wait(20), "never completed"
        api.kill()
    client_of(other).resume(url, data)
    check_settled(faulty, url, data)
    faulty.store.let_go.set()  # what the dead one had sent arrives after all
    wait_for(lambda: faulty.store.count(COMPLETE), 10, "the request to pass")
    check_settled(faulty, url, data)


@pytest.mark.parametrize("faulty", [HoldingProxy], indirect=True)
def test_02_killed_between_the_object_and_its_parts(faulty):
    """A store that died, as the directory store does with its process, may have the object and still the parts."""
    api, other = faulty.start_api(), start_beside(faulty)
    data = os.urandom(9 * MIB)
    url = client_of(api).create(len(data))
    faulty.store.hold_request = COMPLETE
    with client_of(api).open_patch(url, 0, len(data)) as line:
        line.send(data)
        assert faulty.store.held.wait(20), "never completed"
        api.kill()
    faulty.store.put(faulty.store.raw, f"{video_id(url)}/source", data)
    client_of(other).resume(url, data)
    check_settled(faulty, url, data)


@pytest.mark.parametrize("faulty", [HoldingProxy], indirect=True)
def test_03_killed_after_complete_before_enqueue(faulty):
    api, other = faulty.start_api(), start_beside(faulty)
    data = os.urandom(9 * MIB)
    url = client_of(api).create(len(data))
    faulty.store.hold_answer = COMPLETE
    with client_of(api).open_patch(url, 0, len(data)) as line:
        line.send(data)
        wait_for(lambda: faulty.source(video_id(url)), 20, "the object")
        api.kill()
    faulty.wait_for_state(video_id(url), "waiting", timeout=60, api=other)  # no client asks for it
    check_settled(faulty, url, data)


def test_04_the_answer_of_enqueue_is_lost(weir_dir):
    line = ReplyLosingProxy(weir_dir.redis)
    try:
        tus = client_of(weir_dir.start_api(REDIS_PORT=line.port))
        data = os.urandom(100_000)
        url = tus.create(len(data))
        line.lose(video_id(url), lambda: weir_dir.redis.call("ZSCORE", "{weir}:open", f"{video_id(url)}.1"))
        answer = tus.patch(url, 0, data)
        assert line.lost.wait(10)
        assert answer.status == 204 or answer.status >= 500 or answer.status == 423, answer
        assert tus.resume(url, data).offset == len(data)
        assert tus.patch(url, len(data), b"").status == 204
        check_settled(weir_dir, url, data)
    finally:
        line.close()


@pytest.mark.parametrize("faulty", [HoldingProxy], indirect=True)
def test_05_two_replicas_finish_one_upload(faulty):
    """One of them sleeps before the store is told; when it wakes, the other one has done all of it."""
    api, other = faulty.start_api(), start_beside(faulty)
    data = os.urandom(9 * MIB)
    url = client_of(api).create(len(data))
    faulty.store.hold_request = COMPLETE
    with client_of(api).open_patch(url, 0, len(data)) as line:
        line.send(data)
        assert faulty.store.held.wait(20), "never completed"
        api.pause()
        client_of(other).resume(url, data)
        faulty.store.let_go.set()
        api.resume()
        try:
            answer = line.answer()
            assert answer.status == 204 or is_retriable(answer), answer
        except LineClosed:
            pass
    assert client_of(api).offset(url) == len(data)
    check_settled(faulty, url, data)


def test_05_everybody_finishes_at_once(weir):
    clients = [client_of(weir.start_api()), client_of(weir.start_api())]
    for size in (1000, 9 * MIB):
        data = os.urandom(size)
        url = clients[0].create(size)
        clients[0].patch(url, 0, data[:-1])
        told = []
        threads = [in_background(lambda tus: told.append(tus.patch(url, size - 1, data[-1:]).status), clients[n % 2])
                   for n in range(6)]
        threads += [in_background(lambda tus: told.append(tus.head(url).status), clients[n % 2]) for n in range(4)]
        for thread in threads:
            thread.join()
        assert set(told) <= {204, 200, 409, 423}, told
        clients[1].resume(url, data)
        check_settled(weir, url, data, jobs=1 if size == 1000 else 2)


def test_06_redis_away_at_the_end(weir):
    tus = client_of(weir.start_api())
    data = os.urandom(9 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:-10])
        told = recorded(tus, url)
        weir.redis.kill()
        line.send(data[-10:])
        try:
            answer = line.answer()
            assert answer.status >= 500 or answer.status == 423, answer
        except LineClosed:
            pass
    assert tus.head(url).status == 423, "what is not known is not told"
    weir.redis.start()
    tus.resume(url, data, acknowledged=told)
    check_settled(weir, url, data)


# --- a frozen replica ---

def test_37_frozen_in_mid_patch(weir):
    """Idle between two requests, in the first part, in a later one. Another replica takes over, then the frozen one wakes."""
    api, other = weir.start_api(), weir.start_api()
    tus, there = client_of(api), client_of(other)
    data = os.urandom(20 * MIB)
    uploads = []
    for sent in (10, 100_000, 13 * MIB):
        url = tus.create(len(data))
        tus.patch(url, 0, data[:10])
        line = tus.open_patch(url, 10, len(data) - 10)
        line.send(data[10:sent])
        uploads.append((url, line, sent, recorded(there, url, min(sent, 11))))
    api.pause()
    going_on = [in_background(there.resume, url, data, 60, told, MIB, sent + 2 * MIB) for url, _, sent, told in uploads]
    for thread in going_on:
        thread.join()
    api.resume()
    for url, line, sent, _ in uploads:
        line.socket.settimeout(5)
        try:
            line.send(b"X" * (len(data) - sent))  # what only the woken one would take
            answer = line.answer()
            assert is_retriable(answer) or answer.status == 410, answer
        except (ConnectionError, TimeoutError):
            pass
        line.close()
    for url, _, sent, _ in uploads:
        there.resume(url, data, acknowledged=sent + 2 * MIB)
    for url, _, _, _ in uploads:
        check_settled(weir, url, data, jobs=len(uploads))


# --- what was refused counts for nothing ---

@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_38_a_wrong_checksum_then_a_lost_redis(weir, size):
    tus = client_of(weir.start_api())
    data = os.urandom(size)
    url = tus.create(size)
    tus.patch(url, 0, data[:100])
    assert tus.patch(url, 100, os.urandom(size - 100), {"Upload-Checksum": checksum("sha256", data[100:])}).status == 460
    weir.redis.lose_everything()
    answer = wait_for(lambda: (lambda answer: answer.status != 423 and answer)(tus.head(url)), 30, "the log to be read")
    assert (answer.status, answer.offset) == (200, 100), answer
    tus.resume(url, data, acknowledged=100)
    check_settled(weir, url, data)


# --- memory ---

@pytest.mark.parametrize("checked", [False, True], ids=["plain", "checksum"])
def test_40_a_hundred_half_full_parts(weir, checked):
    """All memory is held by parts that can't go on unless somebody else's does; every one ends. With a checksum nothing
    counts before the end."""
    api = weir.start_api(UPLOAD_MEMORY="32MiB", UPLOADS_PER_CLIENT=1000)
    tus = client_of(api, timeout=120)
    size = 1_500_000
    data = os.urandom(size)
    urls = [tus.create(size) for _ in range(100)]
    headers = {"Upload-Checksum": checksum("sha1", data)} if checked else {}
    lines = [tus.open_patch(url, 0, size, headers) for url in urls]
    threads = [in_background(line.send, data[:MIB]) for line in lines]
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a client waits for room that never comes"
    for line in lines:
        in_background(line.send, data[MIB:])
    answers = [line.answer().status for line in lines]
    assert answers == [204] * 100, answers
    for line in lines:
        line.close()
    assert all(weir.source(video_id(url)) == data for url in urls)
    assert int(weir.redis.call("ZCARD", "{weir}:open")) == 100


def test_a_fast_client_does_not_starve_a_slow_one(weir_dir):
    """With memory for four parts, and four that would take all of it."""
    tus = client_of(weir_dir.start_api(UPLOAD_MEMORY="32MiB"))
    ended, data, slow = threading.Event(), os.urandom(9 * MIB), os.urandom(60_000)

    def hurry():
        while not ended.is_set():
            assert tus.patch(tus.create(len(data)), 0, data).status == 204

    threads = [in_background(hurry) for _ in range(4)]
    try:
        url = tus.create(len(slow))
        with tus.open_patch(url, 0, len(slow)) as line:
            for start in range(0, len(slow), 1000):
                line.send(slow[start:start + 1000])
                time.sleep(0.03)
            before = time.monotonic()
            assert line.answer().status == 204
            assert time.monotonic() - before < 8
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert weir_dir.source(video_id(url)) == slow


# --- Redis ---

@pytest.mark.parametrize("how", ["flushed", "restarted", "forgetful"])
def test_redis_lost_in_mid_upload(weir, how):
    """In the middle of a PATCH, and between two."""
    tus = client_of(weir.start_api())
    data = os.urandom(20 * MIB)
    url = tus.create(len(data), {"Upload-Metadata": metadata(filename="clip.mp4")})
    lose = {"flushed": weir.redis.lose_everything, "restarted": weir.redis.restart,
            "forgetful": lambda: weir.redis.call("DEL", *weir.redis.call("KEYS", f"*{video_id(url)}*"))}[how]
    assert tus.patch(url, 0, data[:MIB]).offset == MIB
    lose()
    head = wait_for(lambda: (lambda answer: answer.status == 200 and answer)(tus.head(url)), 30, "the upload to be known")
    assert (head.offset, head.header("Upload-Length")) == (MIB, str(len(data)))
    assert head.header("Upload-Metadata") == metadata(filename="clip.mp4")
    with tus.open_patch(url, MIB, len(data) - MIB) as line:
        line.send(data[MIB:10 * MIB])
        told = recorded(tus, url, MIB + 1)
        lose()
        try:
            line.send(data[10 * MIB:])
            answer = line.answer()
            assert answer.status in (204, 423, 409) or answer.status >= 500, answer
        except ConnectionError:
            pass
    tus.resume(url, data, acknowledged=told)
    check_settled(weir, url, data)


def test_head_without_redis_is_423(weir_dir):
    """Anything else would make a client begin from the start."""
    tus = client_of(weir_dir.start_api())
    url = tus.create(10)
    tus.patch(url, 0, b"abc")
    weir_dir.redis.kill()
    assert tus.head(url).status == 423
    answer = tus.patch(url, 3, b"d")
    assert answer.status in (423, 503), answer
    weir_dir.redis.start()
    tus.resume(url, b"abcdefghij", acknowledged=3)
    check_settled(weir_dir, url, b"abcdefghij")


def test_a_finished_upload_is_known_without_redis(weir_dir):
    """Its fingerprint stays with the client, who asks for it again."""
    tus = client_of(weir_dir.start_api())
    data = os.urandom(9 * MIB)
    url = tus.upload(data)
    weir_dir.redis.lose_everything()
    answer = wait_for(lambda: (lambda answer: answer.status != 423 and answer)(tus.head(url)), 30, "the log to be read")
    assert (answer.status, answer.offset) == (200, len(data))
    check_settled(weir_dir, url, data)


# --- the store ---

def test_the_store_restarted_in_mid_upload(weir_minio):
    tus = client_of(weir_minio.start_api())
    data = os.urandom(30 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:10 * MIB])
        told = recorded(tus, url)
        weir_minio.store.server.kill()
        assert tus.offset(url) >= told, "HEAD asks nobody but Redis"
        sender = in_background(send_quietly, line, data[10 * MIB:])
        time.sleep(0.5)  # some of it while the store is away
        weir_minio.store.server.start()
        sender.join(60)
        try:
            answer = line.answer()
            assert answer.status in (204, 423) or answer.status >= 500, answer
        except LineClosed:
            pass
    tus.resume(url, data, acknowledged=told)
    check_settled(weir_minio, url, data, killed=True)


def send_quietly(line, data):
    try:
        line.send(data)
    except OSError:
        pass


@pytest.mark.parametrize("faulty", [BurstingProxy], indirect=True)
def test_the_store_fails_in_bursts(faulty):
    tus = client_of(faulty.start_api())
    data = os.urandom(30 * MIB)
    ended = threading.Event()

    def burst():
        while not ended.wait(0.3):
            faulty.store.failing = not faulty.store.failing
        faulty.store.failing = False

    url = tus.create(len(data))
    burster = in_background(burst)
    try:
        tus.resume(url, data, piece=MIB + 1, timeout=90)
        assert faulty.store.failed > 5
    finally:
        ended.set()
        burster.join()
    check_settled(faulty, url, data)


def test_11_what_the_store_forgot_to_list_is_removed_too(weir_minio):
    """After a restart MinIO may list no multipart uploads, though they are there."""
    proxy = HoldingProxy(weir_minio.store.server, "own")
    weir_minio.store = proxy
    try:
        api = weir_minio.start_api(UPLOAD_EXPIRY_S=4)
        tus = client_of(api)
        url = tus.create(20 * MIB)
        tus.patch(url, 0, os.urandom(9 * MIB))
        sent = next(line for line in proxy.requests if "partNumber=" in line and video_id(url) in line)
        upload_id = re.search(r"uploadId=([^& ]+)", sent).group(1)
        source = f"/{proxy.raw}/{video_id(url)}/source"
        parts = {"uploadId": upload_id}
        assert weir_minio.store.server.call("GET", source, parts)[0] == 200
        proxy.server.kill()
        proxy.server.start()
        api.wait_until_ready(60)
        wait_for(lambda: tus.head(url).status == 410, 20, "the upload to expire", every=0.2)
        status, log = weir_minio.run_api("--reconcile-once", UPLOAD_EXPIRY_S=4)
        assert status == 0, log
        assert proxy.server.call("GET", source, parts)[0] == 404, "NoSuchUpload"
        assert [key for key in weir_minio.raw_keys() if video_id(url) in key and "/log/" not in key] in (
            [], [f".videos/{video_id(url)}.deleted"])
    finally:
        proxy.close()


def test_what_the_store_forgot_too_early_is_gone(weir_minio):
    """410 and a line in the log, not a failure for ever."""
    proxy = HoldingProxy(weir_minio.store.server, "own")
    weir_minio.store = proxy
    try:
        api = weir_minio.start_api()
        tus = client_of(api)
        url = tus.create(20 * MIB)
        tus.patch(url, 0, os.urandom(9 * MIB))
        sent = next(line for line in proxy.requests if "partNumber=" in line and video_id(url) in line)
        upload_id = re.search(r"uploadId=([^& ]+)", sent).group(1)
        status, _ = proxy.server.call("DELETE", f"/{proxy.raw}/{video_id(url)}/source", {"uploadId": upload_id})
        assert status == 204
        answer = tus.patch(url, 9 * MIB, os.urandom(11 * MIB))
        assert answer.status == 410, answer
        assert tus.head(url).status == 410
        assert re.search(r"(?i)(error|warn).*" + video_id(url), api.log)
    finally:
        proxy.close()


def test_parts_that_the_store_refuses_are_kept_until_it_is_mended(weir_minio):
    """A store that is ill may miss parts for a while: 503, and nothing is thrown away."""
    api = weir_minio.start_api()
    tus = client_of(api)
    data = os.urandom(20 * MIB)
    url = tus.create(len(data))
    assert tus.patch(url, 0, data[:9 * MIB]).status == 204
    folder = weir_minio.store.server.folder
    part = next(folder.glob("data/.minio.sys/multipart/**/part.1"))
    away = part.rename(folder / "away")
    answer = tus.patch(url, 9 * MIB, data[9 * MIB:])
    assert answer.status == 503, answer
    assert "parts of an upload that it has confirmed" in api.log and video_id(url) in api.log
    head = tus.head(url)
    assert head.status == 423 or head.offset < len(data), head
    away.rename(part)
    tus.resume(url, data, acknowledged=9 * MIB)
    check_settled(weir_minio, url, data)


# --- the end ---

def test_sigterm_keeps_what_came(weir):
    api, other = weir.start_api(SHUTDOWN_GRACE_MS=500), weir.start_api()
    tus = client_of(api)
    data = os.urandom(10 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:9 * MIB + 17])
        told = recorded(tus, url)
        assert api.stop() == 0
    head = client_of(other).head(url)
    assert head.status == 200 and head.offset >= told, head
    client_of(other).resume(url, data, acknowledged=head.offset)
    check_settled(weir, url, data)
