"""Uploads under fire: a replica is killed again and again, two clients fight for one upload. TUS_FIGHT_S=60 fights longer,
TUS_SEED repeats a run."""

import os
import random
import time

from tus_faults import check_settled, client_of, in_background
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
