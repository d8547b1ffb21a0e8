"""Uploads by tus when answers get lost, when a replica is cut off, and when two clients want two things at once."""

import os
import time

import pytest

from test_tus_faults import COMPLETE, faulty, recorded, start_beside  # noqa: F401
from tus_faults import LosingProxy, check_settled, client_of, in_background
from weirtest import wait_for
from weirtest.tus import LineClosed, is_retriable, metadata
from weirtest.tus_servers import video_id
from working import HoldingProxy, RedisProxy

MIB = 1024 * 1024
PARTIAL = {"Upload-Concat": "partial"}


def final(urls):
    return {"Upload-Concat": "final;" + " ".join(urls)}


# --- answers of the store that get lost ---

@pytest.mark.parametrize("faulty", [LosingProxy], indirect=True)
@pytest.mark.parametrize("what, size", [
    (r"^PUT [^ ]*/log/", 1000),
    (r"^PUT [^ ]*/log/", 20 * MIB),
    (r"^PUT [^ ]*partNumber=", 20 * MIB),
    (r"^POST [^ ]*\?uploads", 20 * MIB),
    (COMPLETE, 20 * MIB),
    (r"^PUT [^ ]*/source$", 1000),
    (r"^PUT [^ ]*/\.videos/", 1000),
])
def test_32_an_answer_of_the_store_is_lost(faulty, what, size):  # noqa: F811
    """It was done, and nobody was told: done again it must come to the same."""
    tus = client_of(faulty.start_api())
    data = os.urandom(size)
    if ".videos" in what:
        faulty.store.lose = what
    created = tus.post(size)
    if created.status != 201:
        assert is_retriable(created), created
        created = tus.post(size)
    url = tus.location(created)
    assert tus.patch(url, 0, data[:10]).status == 204
    if ".videos" not in what:
        faulty.store.lose = what
    tus.resume(url, data, acknowledged=10)
    assert faulty.store.lost == 1, "nothing was lost"
    check_settled(faulty, url, data)


@pytest.mark.parametrize("faulty", [LosingProxy], indirect=True)
def test_32_every_tenth_answer_of_the_store_is_lost(faulty):  # noqa: F811
    tus = client_of(faulty.start_api())
    data = os.urandom(30 * MIB)
    url = tus.create(len(data))
    faulty.store.share = 0.1
    tus.resume(url, data, piece=700_000, timeout=90)
    faulty.store.share = 0
    assert faulty.store.lost > 5
    check_settled(faulty, url, data, killed=True)


# --- a replica that is cut off ---

def test_37_cut_off_from_redis_in_mid_patch(weir):
    """It does not know that somebody else took over, and finds out from the log."""
    line = RedisProxy(weir.redis)
    try:
        api, other = weir.start_api(REDIS_PORT=line.port), weir.start_api()
        tus, there = client_of(api), client_of(other)
        data = os.urandom(30 * MIB)
        url = tus.create(len(data))
        with tus.open_patch(url, 0, len(data)) as patch:
            patch.send(data[:10 * MIB])
            told = recorded(there, url)
            line.set_cut(True)
            told = there.resume(url, data, acknowledged=told, piece=MIB, least=told + 4 * MIB).offset
            stale = in_background(send_slowly, patch, b"X" * (len(data) - 10 * MIB))
            told = there.resume(url, data, acknowledged=told, piece=MIB, least=told + 4 * MIB).offset
            stale.join()
            line.set_cut(False)
        there.resume(url, data, acknowledged=told)
        check_settled(weir, url, data)
    finally:
        line.close()


def send_slowly(line, data):
    try:
        for start in range(0, len(data), 500_000):
            line.send(data[start:start + 500_000])
            time.sleep(0.05)
        answer = line.answer()
        assert is_retriable(answer) or answer.status == 410, answer
    except OSError:
        pass


@pytest.mark.parametrize("faulty", [HoldingProxy], indirect=True)
def test_cut_off_from_the_store_in_mid_patch(faulty):  # noqa: F811
    """It can't record what it has; somebody else goes on from what was recorded."""
    api, other = faulty.start_api(), start_beside(faulty)
    tus, there = client_of(api), client_of(other)
    data = os.urandom(20 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:10 * MIB])
        told = recorded(there, url)
        faulty.store.refuses = True
        in_background(send_slowly, line, data[10 * MIB:])
        there.resume(url, data, acknowledged=told, timeout=90)
    check_settled(faulty, url, data, killed=True)


def test_neither_redis_nor_the_store_knows(weir_minio):
    """What can't be read can't be told: 423, never 404 or 5xx, on which a client begins anew."""
    tus = client_of(weir_minio.start_api())
    data = os.urandom(9 * MIB)
    url = tus.create(len(data))
    tus.patch(url, 0, data[:1000])
    weir_minio.store.server.kill()
    weir_minio.redis.lose_everything()
    for _ in range(3):
        assert tus.head(url).status == 423
    weir_minio.store.server.start()
    tus.resume(url, data, acknowledged=1000)
    check_settled(weir_minio, url, data)


def test_redis_asleep_for_longer_than_a_lease(weir_dir):
    tus = client_of(weir_dir.start_api())
    data = os.urandom(12 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:9 * MIB])
        told = recorded(tus, url)
        weir_dir.redis.pause()
        sender = in_background(send_slowly_and_well, line, data[9 * MIB:])
        assert tus.head(url).status == 423
        time.sleep(13)
        weir_dir.redis.resume()
        sender.join()
    tus.resume(url, data, acknowledged=told)
    check_settled(weir_dir, url, data)


def send_slowly_and_well(line, data):
    try:
        for start in range(0, len(data), 200_000):
            line.send(data[start:start + 200_000])
            time.sleep(0.7)
        answer = line.answer()
        assert answer.status == 204 or is_retriable(answer), answer
    except OSError:
        pass


# --- two clients, two wishes ---

def test_two_lengths_at_once(weir_dir):
    """One of them is declared."""
    clients = [client_of(weir_dir.start_api()), client_of(weir_dir.start_api())]
    for _ in range(10):
        url = clients[0].create(None, {"Upload-Defer-Length": "1"})
        assert clients[0].patch(url, 0, b"abc").status == 204
        told = {}

        def declare(n):
            told[n] = clients[n].patch(url, 3, b"", {"Upload-Length": str(6 + n)}).status

        for thread in [in_background(declare, n) for n in range(2)]:
            thread.join()
        assert set(told.values()) <= {204, 400, 409, 423}, told
        declared = [n for n in told if told[n] == 204]
        assert len(declared) <= 1, told
        for n in declared:
            assert all(tus.head(url).header("Upload-Length") == str(6 + n) for tus in clients)


def test_two_finals_at_once(weir):
    """Over the same partials, which go with a final: each of the two is whole or was refused."""
    clients = [client_of(weir.start_api()), client_of(weir.start_api())]
    for sizes in ((1000, 2000), (6 * MIB, 6 * MIB)):
        pieces = [os.urandom(size) for size in sizes]
        urls = [clients[0].upload(piece, PARTIAL) for piece in pieces]
        answers = []
        for thread in [in_background(lambda tus: answers.append(tus.post(None, final(urls))), tus) for tus in clients]:
            thread.join()
        made = [answer for answer in answers if answer.status == 201]
        assert made and all(answer.status == 201 or 400 <= answer.status < 600 for answer in answers), answers
        for answer in made:
            assert weir.source(video_id(clients[0].location(answer))) == b"".join(pieces)


@pytest.mark.parametrize("faulty", [HoldingProxy], indirect=True)
def test_killed_while_a_final_is_made(faulty):  # noqa: F811
    """The partials are still there; the client asks for the final again."""
    api, other = faulty.start_api(), start_beside(faulty)
    pieces = [os.urandom(6 * MIB) for _ in range(2)]
    urls = [client_of(other).upload(piece, PARTIAL) for piece in pieces]
    faulty.store.hold_request = COMPLETE
    asking = in_background(expect_cut, client_of(api), final(urls))
    assert faulty.store.held.wait(20)
    api.kill()
    asking.join()
    url = client_of(other).create(None, final(urls) | {"Upload-Metadata": metadata(filename="clip.mp4")})
    assert faulty.source(video_id(url)) == b"".join(pieces)
    assert faulty.video(video_id(url), api=other)["state"] == "waiting"


def expect_cut(tus, headers):
    with pytest.raises(OSError):
        tus.post(None, headers)


@pytest.mark.parametrize("how", ["upload", "video"])
def test_deleted_at_another_replica_while_bytes_come(weir, how):
    api, other = weir.start_api(), weir.start_api()
    tus = client_of(api)
    url = tus.create(20 * MIB, {"Upload-Metadata": metadata(filename="clip.mp4")})
    with tus.open_patch(url, 0, 20 * MIB) as line:
        line.send(os.urandom(9 * MIB))
        recorded(tus, url)
        if how == "upload":
            assert client_of(other).delete(url).status == 204
        else:
            assert other.request("DELETE", f"/api/v1/videos/{video_id(url)}").status == 204
        assert tus.head(url).status in (404, 410)
        try:
            line.send(os.urandom(11 * MIB))
            assert line.answer().status in (404, 410)
        except ConnectionError:
            pass
    for client in (tus, client_of(other)):
        assert client.head(url).status in (404, 410)
        assert client.patch(url, 0, b"x").status in (404, 410)
    wait_for(lambda: not weir.store.multipart_uploads(), 15, "its parts to go")
    left = [key for key in weir.raw_keys() if video_id(url) in key and "/log/" not in key]
    assert left == [f".videos/{video_id(url)}.deleted"]
    assert weir.video(video_id(url), api=other) is None


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_the_end_of_a_patch_that_records_nothing_new(weir, how):
    """Everything of it was recorded before its upload went: it must not be acknowledged all the same."""
    tus, there = client_of(weir.start_api(UPLOAD_EXPIRY_S=4)), client_of(weir.start_api(UPLOAD_EXPIRY_S=4))
    data = os.urandom(9 * MIB)
    url = tus.create(2 * len(data))
    with tus.open_patch(url, 0, None) as line:
        line.send_chunk(data)
        recorded(there, url, len(data))
        if how == "deleted":
            assert there.delete(url).status == 204
        wait_for(lambda: there.head(url).status in (404, 410), 15, "the upload to go")
        line.end_chunks()
        assert line.answer().status in (404, 410)


def test_11_expired_while_bytes_come(weir):
    """Its client was told that it is gone, and so it is: nothing is left."""
    tus = client_of(weir.start_api(UPLOAD_EXPIRY_S=3))
    data = os.urandom(20 * MIB)
    url = tus.create(len(data))
    with tus.open_patch(url, 0, len(data)) as line:
        line.send(data[:9 * MIB])
        wait_for(lambda: tus.head(url).status == 410, 15, "the upload to expire")
        try:
            line.send(data[9 * MIB:])
            assert line.answer().status == 410
        except ConnectionError:
            pass
    wait_for(lambda: weir.video(video_id(url)) is None, 30, "the video to be removed")
    assert weir.source(video_id(url)) is None
    wait_for(lambda: not weir.store.multipart_uploads(), 15, "its parts to go")


def test_11_removed_while_bytes_come(weir_minio):
    """Its writer finds out at the latest when it is to record something."""
    tus = client_of(weir_minio.start_api(UPLOAD_EXPIRY_S=2))
    url = tus.create(20 * MIB)
    with tus.open_patch(url, 0, 20 * MIB) as line:
        line.send(os.urandom(9 * MIB))
        wait_for(lambda: weir_minio.video(video_id(url)) is None, 40, "the video to be removed")
        try:
            line.send(os.urandom(11 * MIB))
            assert line.answer().status == 410
        except ConnectionError:
            pass
    assert tus.head(url).status == 410
    assert weir_minio.source(video_id(url)) is None
    wait_for(lambda: not weir_minio.store.multipart_uploads(), 15, "its parts to go")
