"""Uploads under fire: replicas are killed and frozen, Redis and the store fail, two clients fight for one upload.
TUS_FIGHT_S=60 and TUS_CHAOS_S=60 go on for longer, TUS_SEED repeats a run as far as a run can be repeated."""

import contextlib
import os
import random
import threading
import time

from tus_faults import BurstingProxy, check_settled, client_of, in_background
from weirtest import Weir
from weirtest.tus import LineClosed, is_retriable

MIB = 1024 * 1024
SEED = int(os.environ.get("TUS_SEED", time.time_ns() % 1_000_000))


class Upload:
    """Sends its file in PATCHes of its own sizes at its own pace until the line breaks; remembers what it was told."""

    def __init__(self, tus, seed):
        self.random = random.Random(seed)
        self.data = self.random.randbytes(self.random.randrange(1, 12 * MIB))
        self.told, self.sent, self.tus = 0, 0, tus
        self.url = tus.create(len(self.data))
        self.piece = self.random.choice((300_000, 2 * MIB, len(self.data)))
        self.pause = self.random.uniform(0, 0.01)

    def run(self):
        try:
            while self.told < len(self.data):
                self.patch(min(self.piece, len(self.data) - self.told))
        except OSError:
            pass

    def patch(self, size):
        with self.tus.open_patch(self.url, self.told, size) as line:
            for start in range(self.told, self.told + size, 65536):
                end = min(start + 65536, self.told + size)
                line.send(self.data[start:end])
                self.sent = end
                time.sleep(self.pause)
            answer = line.answer()
            if answer.status != 204:
                assert is_retriable(answer), answer
                raise LineClosed(str(answer))
            self.told = answer.offset

    def resume(self, tus, share=1):
        """Goes on to the end, or at least to a share of it."""
        least = max(self.told, int(share * len(self.data)))
        self.told = tus.resume(self.url, self.data, acknowledged=self.told, least=least, piece=1_000_000).offset


def in_the_middle(uploads, dice):
    """Waits until a random share of all their bytes is sent, or one of them has nothing more to send."""
    enough = dice.uniform(0.02, 0.9) * sum(len(upload.data) for upload in uploads)
    threads = [in_background(upload.run) for upload in uploads]
    while sum(upload.sent for upload in uploads) < enough and any(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    return threads


def test_killed_at_fifty_random_points(weir_dir):
    """Ten kills, each in the middle of five uploads that another replica goes on with."""
    print(f"TUS_SEED={SEED}")
    dice = random.Random(SEED)
    other = weir_dir.start_api()
    uploads, resuming, broken = [], [], 0
    for _ in range(10):
        api = weir_dir.start_api()
        batch = [Upload(client_of(api), dice.random()) for _ in range(5)]
        threads = in_the_middle(batch, dice)
        api.kill()
        for thread in threads:
            thread.join()
        broken += sum(upload.told < len(upload.data) for upload in batch)
        resuming += [in_background(upload.resume, client_of(other)) for upload in batch]
        uploads += batch
    for thread in resuming:
        thread.join()
    assert broken >= 25, "too few were in the middle"
    for upload in uploads:
        check_settled(weir_dir, upload.url, upload.data, jobs=len(uploads), killed=True)


def test_killed_in_mid_upload_on_minio(weir_minio):
    print(f"TUS_SEED={SEED}")
    dice = random.Random(SEED)
    other, api = weir_minio.start_api(), weir_minio.start_api()
    batch = [Upload(client_of(api), dice.random()) for _ in range(8)]
    threads = in_the_middle(batch, dice)
    api.kill()
    threads += [in_background(upload.resume, client_of(other)) for upload in batch]
    for thread in threads:
        thread.join()
    for upload in batch:
        check_settled(weir_minio, upload.url, upload.data, jobs=len(batch), killed=True)


def test_37_frozen_at_ten_random_points(weir):
    """Another replica takes all of them over; then the frozen one wakes with whatever it was about to write."""
    print(f"TUS_SEED={SEED}")
    dice = random.Random(SEED)
    other, api = weir.start_api(), weir.start_api()
    batch = [Upload(client_of(api), dice.random()) for _ in range(10)]
    threads = in_the_middle(batch, dice)
    api.pause()
    half = [in_background(upload.resume, client_of(other), dice.uniform(0.5, 1)) for upload in batch]
    for thread in half:
        thread.join()
    api.resume()
    for thread in threads:
        thread.join()
    for upload in batch:
        upload.resume(client_of(other))
    for upload in batch:
        check_settled(weir, upload.url, upload.data, jobs=len(batch))


def test_two_clients_fight_for_one_upload(weir_dir):
    """Each sends bytes of its own. What one of them was told is its own from end to end, and every byte is either's."""
    print(f"TUS_SEED={SEED}")
    seconds = float(os.environ.get("TUS_FIGHT_S", "15"))
    apis = [weir_dir.start_api(), weir_dir.start_api()]
    tiles = [random.Random(SEED + n).randbytes(MIB + 4093) for n in range(2)]  # position decides the byte
    url = client_of(apis[0]).create(None, {"Upload-Defer-Length": "1"})
    owned, deadline = ([], []), time.monotonic() + seconds

    def content(n, start, size):
        tile = tiles[n]
        start %= len(tile)
        return (tile[start:] + tile * (size // len(tile) + 1))[:size]

    def fight(n):
        dice, clients = random.Random(SEED + 10 + n), [client_of(api) for api in apis]
        while time.monotonic() < deadline:
            tus = dice.choice(clients)
            try:
                head = tus.head(url)
                if head.status != 200:
                    continue
                size = dice.choice((1, 1000, 30_000, 200_000))
                answer = tus.patch(url, head.offset, content(n, head.offset, size))
                if answer.status == 204:
                    assert answer.offset == head.offset + size, answer
                    owned[n].append((head.offset, answer.offset))
                assert answer.status == 204 or is_retriable(answer), answer
            except OSError:
                pass

    for thread in [in_background(fight, n) for n in range(2)]:
        thread.join()
    tus = client_of(apis[0])
    length = tus.offset(url)
    assert tus.patch(url, length, b"", {"Upload-Length": str(length)}).status == 204
    stored = weir_dir.source(url.rsplit("/", 1)[1].split("~")[0])
    assert len(stored) == length
    either = [content(n, 0, length) for n in range(2)]
    assert all(len(rounds) > 5 for rounds in owned), "one never had its turn"
    for n in range(2):
        for start, end in owned[n]:
            assert stored[start:end] == either[n][start:end], f"{start}–{end} was acknowledged to client {n}"
    covered = sorted(owned[0] + owned[1])
    assert all(first[1] <= second[0] for first, second in zip(covered, covered[1:])), "told to both"
    position = 0
    for start, end in [*covered, (length, length)]:  # between: beginnings of PATCHes that were cut off
        assert all(stored[at] in (either[0][at], either[1][at]) for at in range(position, start)), (position, start)
        position = end
    check_settled(weir_dir, url, stored)


class Sender:
    """Uploads one file after the other through whatever replica answers, breaking off now and then, until it is told to end;
    then it brings the last one to its end."""

    def __init__(self, chaos, seed):
        self.chaos, self.random, self.done = chaos, random.Random(seed), []

    def client(self):
        return client_of(self.random.choice(self.chaos.apis), timeout=20)

    def run(self):
        while not self.chaos.ended.is_set():
            data = self.random.randbytes(self.random.choice((1000, 1_000_000, 9_000_000, 20_000_000)))
            self.upload(self.create(len(data)), data)

    def create(self, size):
        while True:
            with contextlib.suppress(OSError):
                tus = self.client()
                answer = tus.post(size)
                if answer.status == 201:
                    return tus.location(answer)
                assert is_retriable(answer), answer
            time.sleep(0.05)

    def upload(self, url, data):
        told = 0
        deadline = time.monotonic() + 120
        while told < len(data):
            assert time.monotonic() < deadline, f"{url} does not come to its end, {told} of {len(data)}"
            with contextlib.suppress(OSError):
                head = self.client().head(url)
                assert head.status in (200, 423), f"a client would begin anew: {head}"
                if head.status == 200:
                    assert head.offset >= told, f"{told} was acknowledged: {head}"
                    told = head.offset
                    told = max(told, self.patch(url, data, told))
            time.sleep(0.02)
        self.done.append((url, data))

    def patch(self, url, data, offset):
        size = min(self.random.choice((100_000, 1_000_000, 10_000_000)), len(data) - offset)
        sent = size if self.random.random() < 0.8 else self.random.randrange(size + 1)
        with self.client().open_patch(url, offset, size) as line:
            line.send(data[offset:offset + sent])
            if sent < size:
                return offset
            answer = line.answer()
        assert answer.status == 204 or is_retriable(answer), answer
        return answer.offset if answer.status == 204 else offset


class Chaos:
    """Three replicas, and something bad every moment."""

    def __init__(self, weir, seed):
        self.weir, self.random, self.ended = weir, random.Random(seed), threading.Event()
        self.apis = [weir.start_api() for _ in range(3)]

    def run(self, seconds):
        acts = [self.kill, self.kill, self.freeze, self.flush, self.restart, self.fail, self.fail]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(self.random.uniform(0.2, 1))
            self.random.choice(acts)()
        self.ended.set()

    def kill(self):
        api = self.random.choice(self.apis)
        api.kill()
        time.sleep(self.random.uniform(0, 0.5))
        self.apis[self.apis.index(api)] = self.weir.start_api(ready=False)

    def freeze(self):
        api = self.random.choice(self.apis)
        api.pause()
        time.sleep(self.random.choice((0.3, 1, 14)))
        api.resume()

    def flush(self):
        self.weir.redis.lose_everything()

    def restart(self):
        self.weir.redis.restart()

    def fail(self):
        self.weir.store.failing = True
        time.sleep(self.random.uniform(0.1, 1))
        self.weir.store.failing = False


def test_everything_at_once(tmp_path, own_minio, redis):
    print(f"TUS_SEED={SEED}")
    proxy = BurstingProxy(own_minio, "own")
    weir = Weir(tmp_path, proxy, redis)
    try:
        chaos = Chaos(weir, SEED)
        senders = [Sender(chaos, SEED + n) for n in range(5)]
        threads = [in_background(sender.run) for sender in senders]
        chaos.run(float(os.environ.get("TUS_CHAOS_S", "15")))
        for thread in threads:
            thread.join()
        done = [pair for sender in senders for pair in sender.done]
        print(f"{len(done)} uploads, {len(weir.apis)} processes, {proxy.failed} failures of the store")
        assert len(done) > len(senders)
        for url, data in done:
            check_settled(weir, url, data, jobs=len(done), killed=True)
    finally:
        proxy.close()
        weir.stop()
