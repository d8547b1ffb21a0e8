"""Videos that are published without api and worker: the objects of one, put where a worker would have put them."""

import datetime
import json
import pathlib
import random
import subprocess

from weirtest import bin_path

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
NONCE = "0123456789abcdef"


def new_video_id():
    return "v_0" + "".join(random.choices(ALPHABET, k=25))


def version_of(generation, fence=7, nonce=NONCE):
    return f"{generation}-{fence}-{nonce}"


def make_clip(path, size="640x360", seconds=14, rate=25, sound=True):
    """A moving picture, with or without sound."""
    tone = ["-f", "lavfi", "-i", f"sine=frequency=330:beep_factor=3:duration={seconds}"] if sound else []
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i",
                    f"testsrc2=size={size}:rate={rate}:duration={seconds}", *tone, "-c:v", "libx264", "-preset", "ultrafast",
                    "-crf", "24", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)], check=True)
    return path


def transcode(folder, **clip):
    """The files of a finished transcode with two renditions, by name."""
    folder = pathlib.Path(folder)
    out = folder / "out"
    out.mkdir(parents=True)
    subprocess.run([bin_path("weir-transcode"), "--input", make_clip(folder / "clip.mp4", **clip), "--output", out, "--ladder",
                    "360,240", "--preset", "ultrafast"], check=True, stdout=subprocess.DEVNULL)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


class Published:
    """One video in a store."""

    def __init__(self, store, files):
        self.store, self.id = store, new_video_id()
        self.files, self.version = files, None

    def put_version(self, generation=1, files=None, **version):
        """The objects of a version, which nothing names yet."""
        name = version_of(generation, **version)
        for path, data in (self.files if files is None else files).items():
            self.store.put(self.store.processed, f"{self.id}/{name}/{path}", data)
        return name

    def put_outcome(self, generation, **members):
        outcome = {"video": self.id, "generation": generation, "created_at": "2026-01-02T03:04:05.678Z"} | members
        self.store.put(self.store.processed, f".outcomes/{self.id}/{generation}.json", json.dumps(outcome).encode())

    def publish(self, generation=1, files=None, **version):
        self.version = self.put_version(generation, files, **version)
        result = json.loads(self.files.get("result.json", b'{"duration": 1.0, "renditions": [{"name": "240p"}]}'))
        self.put_outcome(generation, outcome="published", version=self.version, **result)
        return self

    def mark_deleted(self):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.store.put(self.store.raw, f".videos/{self.id}.deleted", json.dumps({"deleted_at": now}).encode())

    @property
    def stable(self):
        return f"/v/{self.id}"

    def path(self, name):
        return f"/v/{self.id}/{self.version}/{name}"
