"""weir-transcode on everything that an upload may be. The checker measures each ladder; the tests here look at what it
shows and how it sounds."""

import os
import pathlib
import re
import statistics
import subprocess

import pytest

from transcoding import (SANITIZED, Worker, bin_path, colour_name, decode_errors, ffmpeg, first_picture, loudness, luma,
                         media, picture, probe, transcode, whole)

# name: duration in s, width and height as shown
GOOD = {
    "plain.mp4": (3.0, 640, 480), "long.mp4": (14.014, 426, 240), "hd.mp4": (2.0, 1280, 720),
    "faststart.mp4": (3.0, 320, 240), "fragmented.mp4": (3.0, 320, 240), "portrait.mp4": (3.0, 480, 854),
    "odd.mkv": (2.0, 641, 361), "tiny.mp4": (3.0, 64, 48), "narrow.mkv": (1.0, 320, 2),
    "wide_pixels.mp4": (3.0, 1024, 576), "tall_pixels.mp4": (2.0, 640, 960), "vfr.mkv": (6.0, 426, 240),
    "slow.mkv": (16.0, 320, 240), "fast.mp4": (2.0, 426, 240), "fast144.mkv": (2.0, 320, 240),
    "interlaced.ts": (2.0, 720, 576), "silent.mp4": (3.0, 320, 240), "mono.mp4": (3.0, 320, 240),
    "surround.mkv": (3.0, 320, 240), "low_rate_audio.avi": (3.0, 320, 240), "audio_late.mkv": (4.0, 320, 240),
    "audio_early.mkv": (4.0, 320, 240), "audio_gap.mkv": (4.0, 320, 240), "audio_longer.mp4": (4.0, 320, 240),
    "audio_shorter.mp4": (4.0, 320, 240), "sync.mp4": (8.0, 320, 240), "two_languages.mkv": (3.0, 320, 240),
    "one_frame.mp4": (0.04, 320, 240), "one_frame_song.mp4": (3.0, 320, 240), "ten_bit.mkv": (1.0, 640, 480),
    "hdr.mp4": (1.0, 320, 240), "full_range.mp4": (1.0, 640, 480), "prores.mov": (1.0, 640, 480),
    "vp9.webm": (1.0, 320, 240), "mjpeg.avi": (2.0, 320, 240), "changing.ts": (4.0, 320, 240),
    "clock_far.ts": (3.0, 320, 240), "damaged.ts": (6.0, 426, 240), "noisy.mp4": (4.0, 426, 240),
    "rotated90.mp4": (1.0, 480, 640), "rotated180.mp4": (1.0, 640, 480), "rotated270.mp4": (1.0, 480, 640),
    "mirrored.mp4": (1.0, 640, 480), "transposed.mp4": (1.0, 480, 640),
}

# name: what the uploader is told
REFUSED = {
    "audio_only.mp4": "sound but no video", "cover.m4a": "sound but no video",
    "truncated.mp4": "not a video file that can be read", "cut_moov.mp4": "no video that can be read",
    "cut_mdat.mp4": "no video that can be read", "noise.mp4": "not a video file", "empty.mp4": "not a video file",
    "text.mp4": "not a video file", "picture.mp4": "not a video file", "playlist.mp4": "not a video file",
    "concat.mp4": "not a video file", "dash.mp4": "not a video file", "sdp.mp4": "not a video file",
    "huge.mov": "16000 x 16000",
}


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """The finished ladder of a test video; each is made once."""
    folder, runs = tmp_path_factory.mktemp("ladders"), {}

    def get(name):
        if name not in runs:
            runs[name] = transcode(media(name), folder / name.replace(".", "_"), "--preset", "ultrafast")
            assert runs[name].status == 0, runs[name].output + runs[name].log
        return runs[name]
    return get


@pytest.mark.parametrize("name", GOOD)
def test_ladder_is_right(ladder, name):
    run = ladder(name)
    report = run.checked()
    duration, width, height = GOOD[name]
    result = run.result
    assert (result["width"], result["height"]) == (width, height)
    assert abs(result["duration"] - duration) <= 0.06  # a frame of the slowest sources
    assert abs(report.video()[0].media.duration() - result["duration"]) < 0.001
    for rendition in report.renditions.values():
        assert decode_errors(run.folder / rendition.uri) == ""
    for variant, said in zip(report.master.variants, result["renditions"], strict=True):
        assert variant.number("BANDWIDTH") == said["bandwidth"]
        assert variant.number("AVERAGE-BANDWIDTH") == said["average_bandwidth"]
        assert variant.text("CODECS") == said["codecs"]
        assert variant.attributes["RESOLUTION"] == f"{said['width']}x{said['height']}"
    assert result["segments"] == sum(len(r.segments) for r in report.renditions.values())
    assert result["bytes"] == sum(s.size for r in report.renditions.values() for s in r.segments)


@pytest.mark.parametrize("name", ["plain.mp4", "portrait.mp4", "tiny.mp4", "hd.mp4"])
def test_poster_has_the_shape_of_the_video(ladder, name):
    run = ladder(name)
    image = picture(run.folder / "poster.jpg")
    top = run.result["renditions"][0]
    assert (image.width, image.height) == (top["width"], top["height"])
    assert image.width <= 1280


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_video_is_refused_for_good(tmp_path, name):
    for other in ("plain.mp4",):  # what a playlist would open if it could
        os.symlink(media(other), tmp_path / other)
    os.symlink(media(name), tmp_path / name)
    run = transcode(tmp_path / name, tmp_path / "out")
    assert run.status == 3
    assert run.lines("error") == ["permanent"]
    assert REFUSED[name] in run.lines("message")[0]
    assert len(run.lines("message")[0]) <= 400
    assert not list((tmp_path / "out").iterdir())


# ---- the picture

TURNS = {
    "plain": ["red", "green", "blue", "white"],
    "rotated90.mp4": ["blue", "red", "white", "green"], "rotated180.mp4": ["white", "blue", "green", "red"],
    "rotated270.mp4": ["green", "white", "red", "blue"], "mirrored.mp4": ["green", "red", "white", "blue"],
    "transposed.mp4": ["red", "blue", "green", "white"],
}


@pytest.mark.parametrize("name", ["portrait.mp4", "wide_pixels.mp4", "tall_pixels.mp4", "ten_bit.mkv", "full_range.mp4",
                                  "prores.mov", *list(TURNS)[1:]])
def test_corners_are_where_they_belong(ladder, name):
    """In every rendition and on the poster, and in their right colours."""
    run = ladder(name)
    for file in [run.folder / "poster.jpg", *map(whole, run.folder.glob("v*/index.m3u8"))]:
        assert picture(file).quarters() == TURNS.get(name, TURNS["plain"]), file


def test_renditions_of_a_portrait_video_are_named_by_the_shorter_side(ladder):
    run = ladder("portrait.mp4")
    sizes = [(r["name"], r["width"], r["height"]) for r in run.result["renditions"]]
    assert sizes == [("480p", 480, 854), ("240p", 240, 428)]


def test_odd_size_becomes_even_and_is_not_enlarged(ladder):
    sizes = [(r["name"], r["width"], r["height"]) for r in ladder("odd.mkv").result["renditions"]]
    assert sizes == [("240p", 426, 240)]
    sizes = [(r["name"], r["width"], r["height"]) for r in ladder("tiny.mp4").result["renditions"]]
    assert sizes == [("48p", 64, 48)]


def test_fields_are_woven_into_pictures(ladder):
    """Combing makes neighbouring lines differ more than lines that are two apart."""
    image = picture(whole(ladder("interlaced.ts").folder / "v480/index.m3u8"), 1)
    row = 3 * image.width
    lines = [image.data[y * row:(y + 1) * row:6] for y in range(image.height)]

    def difference(step):
        return statistics.mean(sum(abs(a - b) for a, b in zip(lines[y], lines[y + step])) / len(lines[y])
                               for y in range(0, image.height - 2))
    assert difference(1) < difference(2)


@pytest.mark.parametrize("name", ["fast.mp4", "fast144.mkv"])
def test_at_most_60_frames_a_second(ladder, name):
    times = sorted(u.pts for u in ladder(name).checked().video()[0].units())
    gaps = {b - a for a, b in zip(times, times[1:])}
    assert min(gaps) >= 1400
    assert max(gaps) - min(gaps) <= 180  # evenly thinned out


def test_variable_rate_keeps_its_times(ladder):
    source = [float(p["pts_time"]) for p in probe(media("vfr.mkv"), "packet=pts_time")["packets"]]
    source = sorted(t - min(source) for t in source)
    times = sorted(u.pts for u in ladder("vfr.mkv").checked().video()[0].units())
    shown = [(t - times[0]) / 90000 for t in times]
    for wanted in source:
        assert min(abs(wanted - t) for t in shown) < 0.002, wanted
    assert max(b - a for a, b in zip(shown, shown[1:])) <= 0.51


def test_hdr_is_said(ladder):
    run = ladder("hdr.mp4")
    variant = run.checked().master.variants[0]
    assert variant.attributes["VIDEO-RANGE"] == "PQ"
    stream = probe(whole(run.lowest()), "stream=color_transfer,color_primaries,color_space,pix_fmt")["streams"][0]
    assert stream == {"pix_fmt": "yuv420p", "color_transfer": "smpte2084", "color_primaries": "bt2020",
                      "color_space": "bt2020nc"}


@pytest.mark.parametrize("name, space", [("hd.mp4", "bt709"), ("plain.mp4", "smpte170m")])
def test_colours_are_said_alike_in_all_renditions(ladder, name, space):
    for playlist in ladder(name).folder.glob("v*/index.m3u8"):
        stream = probe(whole(playlist), "stream=color_space,color_range")["streams"][0]
        assert stream == {"color_space": space, "color_range": "tv"}


def test_a_picture_that_grows_midway_keeps_the_size(ladder):
    run = ladder("changing.ts")
    frames = probe(whole(run.lowest()), "frame=width,height,media_type")["frames"]
    assert {(f["width"], f["height"]) for f in frames} == {(320, 240)}
    assert len(frames) == 120
    # 480 x 270 between bars
    image = picture(whole(run.lowest()), 3)
    assert colour_name(image.at(0.5, 0.03)) == "black"
    assert colour_name(image.at(0.5, 0.97)) == "black"


@pytest.mark.parametrize("name, at_least", [("damaged.ts", 110), ("noisy.mp4", 60)])
def test_damage_costs_only_what_is_damaged(ladder, name, at_least):
    assert len(ladder(name).checked().video()[0].units()) >= at_least


# ---- the sound

def test_a_silent_video_has_no_audio(ladder):
    run = ladder("silent.mp4")
    assert run.result["audio"] == []
    assert not (run.folder / "audio").exists()
    assert "AUDIO" not in (run.folder / "master.m3u8").read_text()


def test_one_audio_rendition_for_each_bit_rate(ladder):
    run = ladder("hd.mp4")
    assert sorted(p.name for p in (run.folder / "audio").iterdir()) == ["128", "64"]
    groups = {v.uri: v.text("AUDIO") for v in run.checked().master.variants}
    assert groups == {"v720/index.m3u8": "aac128", "v480/index.m3u8": "aac128", "v240/index.m3u8": "aac64"}


def sounds(run):
    playlist = run.folder / "audio/64/index.m3u8"
    if not playlist.exists():
        playlist = run.folder / "audio/128/index.m3u8"
    origin = first_picture(run.lowest())
    return [[(t - origin, v) for t, v in loudness(whole(playlist), channel)] for channel in (0, 1)]


def edges(pieces, threshold):
    """When it gets loud and when it gets quiet."""
    found, loud = [], False
    for at, value in pieces:
        if (value > threshold) != loud:
            loud = not loud
            found.append(at)
    return found


def test_picture_and_sound_stay_together(ladder):
    """A flash and a beep at each second."""
    run = ladder("sync.mp4")
    flashes = edges(luma(whole(run.lowest())), 120)[::2]
    beeps = edges(sounds(run)[0], 0.1)[::2]
    assert len(flashes) == len(beeps) == 8
    for flash, beep in zip(flashes, beeps):
        assert abs(flash - beep) <= 0.025


@pytest.mark.parametrize("name, wanted", [
    ("audio_late.mkv", [1.5, 2.5]), ("audio_gap.mkv", [0.0, 1.0, 2.0]), ("audio_shorter.mp4", [0.0, 1.0]),
    ("audio_early.mkv", [0.0]), ("audio_longer.mp4", [0.0]),
])
def test_sound_is_where_it_was(ladder, name, wanted):
    found = edges(sounds(ladder(name))[0], 0.01)
    assert len(found) >= len(wanted)
    for a, b in zip(found, wanted):
        assert abs(a - b) <= 0.05, found


def test_picture_waits_for_its_time_when_sound_begins_first(ladder):
    """The first picture stands for a second, then it moves."""
    run = ladder("audio_early.mkv")
    hashes = ffmpeg("-i", whole(run.lowest()), "-vf", "fps=10,scale=32:24", "-f", "framemd5", "-").stdout.decode()
    assert len(hashes.splitlines()) > 35
    first, later = picture(whole(run.lowest()), 0), picture(whole(run.lowest()), 0.9)
    assert statistics.mean(abs(a - b) for a, b in zip(first.data, later.data)) < 4


def test_mono_is_heard_on_both_sides(ladder):
    left, right = sounds(ladder("mono.mp4"))
    assert statistics.mean(v for _, v in left) > 0.03
    assert abs(statistics.mean(v for _, v in left) - statistics.mean(v for _, v in right)) < 0.001


def test_surround_is_mixed_down(ladder):
    """The tone in the front right speaker stays on the right."""
    left, right = sounds(ladder("surround.mkv"))
    assert statistics.mean(v for _, v in right) > 0.05
    assert statistics.mean(v for _, v in left) < 0.005


def test_language_is_said(ladder):
    run = ladder("two_languages.mkv")
    assert run.result["audio"][0]["language"] == "fr"
    assert 'LANGUAGE="fr"' in (run.folder / "master.m3u8").read_text()
    assert 'LANGUAGE="und"' in (ladder("mono.mp4").folder / "master.m3u8").read_text()


# ---- what is printed

def test_progress_lines(ladder):
    run = ladder("long.mp4")
    files = run.lines("file")
    assert sorted(files) == sorted(str(p.relative_to(run.folder)) for p in run.folder.rglob("*")
                                   if p.is_file() and p.name != "whole.ts")
    assert len(set(files)) == len(files)
    assert files[-1] == "result.json"
    assert files.index("v240/seg_00000.ts") < files.index("v240/seg_00001.ts") < files.index("v240/index.m3u8")
    assert run.lines("progress")[-1] == "end"
    assert set(run.lines("progress")[:-1]) <= {"continue"}
    assert run.lines("frame")[-1] == "420"
    assert abs(int(run.lines("out_time_us")[-1]) - 14014000) < 1000
    assert set(run.lines("duration_us")) == {"14014000"} or abs(int(run.lines("duration_us")[0]) - 14014000) < 50000
    for line in run.output.splitlines():
        assert re.fullmatch(r"(frame|fps|out_time_us|speed|duration_us|progress|file)=\S+", line)


# ---- limits and options

def test_too_many_pixels(tmp_path):
    run = transcode(media("plain.mp4"), tmp_path / "out", "--max-pixels", 640 * 480 - 1)
    assert run.status == 3
    assert "640 x 480" in run.lines("message")[0]


@pytest.mark.parametrize("told", [True, False])
def test_too_long(tmp_path, told):
    """Whether the file says how long it is or only turns out to be."""
    source = media("plain.mp4")
    if not told:
        source = tmp_path / "untold.mkv"
        with open(source, "wb") as out:
            subprocess.run(["ffmpeg", "-v", "error", "-i", media("plain.mp4"), "-c", "copy", "-f", "matroska", "-"],
                           stdout=out, check=True)
        assert "duration" not in probe(source, "format=duration")["format"]
    run = transcode(source, tmp_path / "out", "--max-duration-s", 2)
    assert run.status == 3
    assert "longer than the 2 seconds" in run.lines("message")[0]


@pytest.mark.parametrize("seconds, segments", [(1, 14), (5, 3), (10, 2)])
def test_segment_duration_is_a_setting(tmp_path, seconds, segments):
    run = transcode(media("long.mp4"), tmp_path / "out", "--segment-seconds", seconds, "--preset", "ultrafast")
    report = run.checked()
    count = len(report.video()[0].segments)
    assert count in (segments, segments + 1)
    assert report.video()[0].media.target == seconds


def test_ladder_is_a_setting(tmp_path):
    run = transcode(media("hd.mp4"), tmp_path / "out", "--ladder", "360,720", "--preset", "ultrafast")
    assert [r["name"] for r in run.result["renditions"]] == ["720p", "360p"]
    run.checked()


@pytest.mark.parametrize("options", [["--preset", "fastest"], ["--segment-type", "fmp4"], ["--ladder", "1"], ["--what"]])
def test_wrong_usage(tmp_path, options):
    run = transcode(media("plain.mp4"), tmp_path / "out", *options)
    assert run.status == 2
    assert run.log.startswith("weir-transcode: ")


def test_help_version_and_settings():
    def said(option):
        return subprocess.run([bin_path("weir-transcode"), option], capture_output=True, text=True, check=True).stdout
    assert "--source-fd" in said("--help")
    assert re.fullmatch(r"weir-transcode \S+\n", said("--version"))
    assert "preset=veryfast\n" in said("--check-config")


def test_without_a_place_to_write_it_can_be_tried_again(tmp_path):
    run = transcode(media("plain.mp4"), tmp_path / "out", "--output", "/nowhere/at/all")
    assert run.status == 1
    assert run.lines("error") == ["temporary"]


def test_full_disk_can_be_tried_again(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "v480").mkdir()
    os.symlink("/dev/full", out / "v480/seg_00000.ts")
    run = transcode(media("plain.mp4"), out, "--sandbox", "off", "--preset", "ultrafast")
    assert run.status == 1
    assert run.lines("error") == ["temporary"]
    assert "No space left" in run.lines("message")[0]


def test_memory_does_not_grow_with_length(tmp_path):
    def peak(seconds):
        source = tmp_path / f"{seconds}.mkv"
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=320x240:r=30:d={seconds}", "-f", "lavfi", "-i",
               f"sine=f=440:d={seconds}", "-c:v", "mpeg4", "-c:a", "pcm_s16le", source)
        run = transcode(source, tmp_path / str(seconds), "--preset", "ultrafast")
        assert run.status == 0
        return run.peak_kib
    allowed_kib = 327680 if SANITIZED else 8192  # a sanitizer keeps 256 MiB of what was freed
    assert peak(120) < peak(15) + allowed_kib


# ---- the worker's side

def test_source_over_the_socket_gives_the_same(tmp_path, ladder):
    worker = Worker(media("plain.mp4"))
    run = worker.start(tmp_path / "out", "--preset", "ultrafast").finish()
    assert run.status == 0, run.log
    run.checked()
    same = ladder("plain.mp4").result
    assert abs(run.result["bytes"] - same["bytes"]) < same["bytes"] / 100  # threads of x264 see each other's progress
    for key in ("duration", "width", "height", "segments"):
        assert run.result[key] == same[key]
    assert worker.requests[0] == (0, 0)
    assert all(0 < length <= 1 << 20 for _, length in worker.requests[1:])


def test_moov_at_the_end_costs_few_requests(tmp_path):
    worker = Worker(media("long.mp4"))
    assert worker.start(tmp_path / "out", "--preset", "ultrafast").finish().status == 0
    size = media("long.mp4").stat().st_size
    assert len(worker.requests) <= size // (256 * 1024) + 8
    assert sum(length for _, length in worker.requests) <= 2 * size + (1 << 20)


@pytest.mark.parametrize("trouble", [{"fail_after": 1}, {"fail_after": 4}, {"hang_up_after": 0}, {"hang_up_after": 4}])
def test_source_that_fails_can_be_tried_again(tmp_path, trouble):
    run = Worker(media("hd.mp4"), **trouble).start(tmp_path / "out", "--preset", "ultrafast").finish()
    assert run.status == 1
    assert run.lines("error") == ["temporary"]
    assert not (tmp_path / "out/result.json").exists()


def test_closed_progress_pipe_ends_it(tmp_path):
    worker = Worker(media("long.mp4")).start(tmp_path / "out", "--preset", "ultrafast")
    worker.child.stdout.close()
    assert worker.child.wait(60) != 0
    worker.child.stderr.close()


def test_sandbox_is_around_it_before_a_byte_is_read(tmp_path):
    worker = Worker(media("plain.mp4"))
    worker.hold.clear()
    worker.start(tmp_path / "out", "--preset", "ultrafast")
    assert worker.asked.wait(20)
    proc = pathlib.Path("/proc") / str(worker.child.pid)
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    limits = (proc / "limits").read_text()
    own_network = os.readlink("/proc/self/ns/net")
    network = os.readlink(proc / "ns/net")
    worker.hold.set()
    run = worker.finish()
    assert run.status == 0
    missing = re.findall(r'not available.*layer="?([a-z_ ]+?)"?(?: reason|$)', run.log)
    assert status["NoNewPrivs"] == "1"
    assert re.search(r"Max open files\s+64\s", limits)
    assert re.search(r"Max core file size\s+0\s", limits)
    assert ("network namespace" in missing) == (network == own_network)
    if not SANITIZED:
        assert "seccomp" not in missing
        assert status["Seccomp"] == "2"
        assert not re.search(r"Max data size\s+unlimited", limits)


def test_required_sandbox_is_complete_or_refused(tmp_path):
    run = transcode(media("plain.mp4"), tmp_path / "out", "--sandbox", "required", "--preset", "ultrafast")
    if run.status == 0:
        assert "not available" not in run.log
    else:
        assert run.status == 1
        assert "sandbox is required" in run.lines("message")[0]
