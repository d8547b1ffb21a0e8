"""The checker is only worth its name when it finds what is broken: one good ladder, broken in every way it measures."""

import re
import shutil

import pytest

from transcoding import hls_checker, media, transcode

PACKET = 188


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "ladder"
    run = transcode(media("long.mp4"), folder, "--ladder", "240", "--preset", "ultrafast", "--segment-seconds", "4")
    assert run.status == 0
    two = tmp_path_factory.mktemp("good") / "two"
    assert transcode(media("plain.mp4"), two, "--preset", "ultrafast").status == 0
    return folder, two


@pytest.fixture
def broken(good, tmp_path):
    """A copy to break."""
    shutil.copytree(good[0], tmp_path / "one")
    shutil.copytree(good[1], tmp_path / "two")
    return tmp_path / "one", tmp_path / "two"


def rules(folder):
    return {p.rule for p in hls_checker.check(folder)}


def edit(path, pattern, replacement):
    text = path.read_text()
    assert re.search(pattern, text), f"{pattern} is not in {path}"
    path.write_text(re.sub(pattern, replacement, text, count=1))


def packets(path):
    data = path.read_bytes()
    return [bytearray(data[at:at + PACKET]) for at in range(0, len(data), PACKET)]


def pid(packet):
    return (packet[1] & 0x1F) << 8 | packet[2]


def store(path, changed):
    path.write_bytes(b"".join(changed))


def test_a_good_ladder_has_no_problem(good):
    assert hls_checker.check(good[0]) == []
    assert hls_checker.check(good[1]) == []


MASTER = [
    (r"#EXTM3U", "#EXTM3X", "unreadable"),
    (r"#EXT-X-INDEPENDENT-SEGMENTS\n", "", "independent-segments"),
    (r"BANDWIDTH=(\d+)", r"BANDWIDTH=1\1", "bandwidth"),
    (r",AVERAGE-BANDWIDTH=\d+", "", "average-bandwidth"),
    (r"AVERAGE-BANDWIDTH=", "AVERAGE-BANDWIDTH=9", "average-bandwidth"),
    (r"avc1\.42", "avc1.64", "codecs"),
    (r",mp4a\.40\.2", "", "codecs"),
    (r",CODECS=\"[^\"]*\"", "", "codecs"),
    (r"RESOLUTION=426x240", "RESOLUTION=428x240", "resolution"),
    (r",RESOLUTION=426x240", "", "resolution"),
    (r"FRAME-RATE=29\.970", "FRAME-RATE=29.97", "frame-rate"),
    (r"FRAME-RATE=29\.970", "FRAME-RATE=25.000", "frame-rate"),
    (r"FRAME-RATE=29\.970", "FRAME-RATE=59.940", "frame-rate"),
    (r"VIDEO-RANGE=SDR", "VIDEO-RANGE=PQ", "video-range"),
    (r",AUDIO=\"aac64\"", "", "audio-group"),
    (r",AUDIO=\"aac64\"", ',AUDIO="other"', "audio-group"),
    (r",LANGUAGE=\"und\"", "", "audio-attributes"),
    (r",DEFAULT=YES", "", "audio-attributes"),
    (r"\nv240/index.m3u8", "\n/v240/index.m3u8", "relative-uri"),
    (r"\nv240/index.m3u8", "\nhttp://host/v240/index.m3u8", "relative-uri"),
    (r"\nv240/index.m3u8", "\nv241/index.m3u8", "unreadable"),
    (r"BANDWIDTH=", "BANDWIDTH", "unreadable"),
]


@pytest.mark.parametrize("pattern, replacement, rule", MASTER)
def test_master(broken, pattern, replacement, rule):
    edit(broken[0] / "master.m3u8", pattern, replacement)
    assert rule in rules(broken[0])


def test_other_shape(broken):
    edit(broken[1] / "master.m3u8", r"RESOLUTION=320x240", "RESOLUTION=426x240")
    assert {"aspect", "resolution"} <= rules(broken[1])


MEDIA = [
    (r"#EXT-X-VERSION:6", "#EXT-X-VERSION:1", "version"),
    (r"#EXT-X-ENDLIST\n", "", "endlist"),
    (r"PLAYLIST-TYPE:VOD", "PLAYLIST-TYPE:EVENT", "playlist-type"),
    (r"TARGETDURATION:4", "TARGETDURATION:3", "target-duration"),
    (r"#EXT-X-TARGETDURATION:4\n", "", "target-duration"),
    (r"SEQUENCE:0", "SEQUENCE:1", "media-sequence"),
    (r"#EXTINF:4\.\d+", "#EXTINF:3.500", "segment-start"),
    (r"#EXTINF:4\.\d+,\n", "", "unreadable"),
    (r"#EXTINF:2\.\d+,\n.*\n", "", "same-duration"),
    (r"seg_00001.ts", "seg_00009.ts", "missing-segment"),
    (r"seg_00001.ts", "../v240/seg_00001.ts", "relative-uri"),
]


@pytest.mark.parametrize("pattern, replacement, rule", MEDIA)
def test_media(broken, pattern, replacement, rule):
    edit(broken[0] / "v240/index.m3u8", pattern, replacement)
    assert rule in rules(broken[0])


def test_different_targets(broken):
    edit(broken[0] / "v240/index.m3u8", r"TARGETDURATION:4", "TARGETDURATION:5")
    assert "same-target" in rules(broken[0])


# ---- the transport stream

def breakage(change, path="v240/seg_00001.ts"):
    """Applies `change` to the packets of a segment and gives the rules that are then broken."""
    def apply(folder):
        changed = packets(folder / path)
        result = change(changed)
        store(folder / path, changed if result is None else result)
        return rules(folder)
    return apply


def media_at(changed, number=0):
    """The index of the number-th packet with a PES start."""
    return [i for i, p in enumerate(changed) if pid(p) >= 0x100 and pid(p) < 0x1000 and p[1] & 0x40][number]


def lose_sync(changed):
    changed[5][0] = 0x48


def flag_error(changed):
    changed[5][1] |= 0x80


def lose_a_packet(changed):
    del changed[media_at(changed) + 1]


def cut_short(changed):
    changed[-1] = changed[-1][:100]


def no_tables(changed):
    return [p for p in changed if pid(p) in (0x100, 0x101)]


def not_random_access(changed):
    changed[media_at(changed)][5] &= ~0x40


def spoil_header(changed):
    packet = changed[media_at(changed)]
    at = packet.index(b"\0\0\1\xe0")
    packet[at:at + 3] = b"\0\0\7"


def replace_nal(old, new):
    def change(changed):
        for packet in changed:
            at = packet.find(bytes([0, 0, 1, old]))
            if at >= 0:
                packet[at + 3] = new
                return
        raise AssertionError("no such NAL unit")
    return change


def turn_counters(changed):
    """A fresh start of the counters, as a muxer for each segment would make it."""
    first = {}
    for packet in changed:
        if packet[3] & 0x10:
            counter = packet[3] & 15
            packet[3] = packet[3] & 0xF0 | (counter - first.setdefault(pid(packet), counter + 5)) % 16


@pytest.mark.parametrize("change, rule", [
    (lose_sync, "transport"), (flag_error, "transport"), (lose_a_packet, "transport"), (cut_short, "transport"),
    (no_tables, "tables"), (not_random_access, "random-access"), (spoil_header, "transport"),
    (replace_nal(0x67, 0x6C), "parameter-sets"), (replace_nal(0x68, 0x6C), "parameter-sets"),
    (replace_nal(0x65, 0x61), "idr-start"), (replace_nal(0x09, 0x0C), "transport"), (turn_counters, "continuity"),
])
def test_video_segment(broken, change, rule):
    assert rule in breakage(change)(broken[0])


def move_pts(ticks, which=0):
    """Moves the PTS of one picture."""
    def change(changed):
        packet = changed[media_at(changed, which)]
        at = packet.index(b"\0\0\1\xe0") + 9
        pts = hls_checker.check.__globals__["ts"].timestamp(packet[at:at + 5]) + ticks
        packet[at:at + 5] = bytes([packet[at] & 0xF0 | (pts >> 30 & 7) << 1 | 1, pts >> 22 & 255,
                                   (pts >> 15 & 127) << 1 | 1, pts >> 7 & 255, (pts & 127) << 1 | 1])
    return change


@pytest.mark.parametrize("change, rule", [
    (move_pts(45000), "segment-start"), (move_pts(3003, which=3), "pts"), (move_pts(-900000, which=5), "closed-gop"),
])
def test_picture_times(broken, change, rule):
    assert rule in breakage(change)(broken[0])


def test_a_picture_is_missing_from_the_start(broken):
    """A segment that begins with the second picture begins with no IDR picture."""
    def change(changed):
        first, second = media_at(changed, 0), media_at(changed, 1)
        return changed[:first] + changed[second:]
    assert "idr-start" in breakage(change)(broken[0])


def test_empty_segment(broken):
    (broken[0] / "v240/seg_00001.ts").write_bytes(b"")
    assert {"transport", "idr-start"} <= rules(broken[0])


def test_swapped_segments(broken):
    a, b = broken[0] / "v240/seg_00000.ts", broken[0] / "v240/seg_00001.ts"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    assert {"continuity", "segment-start", "dts"} <= rules(broken[0])


def test_long_distance_between_idr_pictures(broken):
    def change(changed):
        seen = 0
        for packet in changed:
            at = packet.find(b"\0\0\1\x65")
            if at >= 0:
                seen += 1
                if seen == 2:
                    packet[at + 3] = 0x61
    assert "idr-interval" in breakage(change)(broken[0])


def test_sound_where_a_picture_belongs(broken):
    shutil.copy(broken[0] / "audio/64/seg_00001.ts", broken[0] / "v240/seg_00001.ts")
    assert {"streams", "idr-start"} <= rules(broken[0])


def test_sound_with_a_hole(broken):
    path = broken[0] / "audio/64/seg_00001.ts"
    changed = packets(path)
    first, second = media_at(changed, 1), media_at(changed, 2)
    store(path, changed[:first] + changed[second:])
    assert {"audio-gap", "transport"} <= rules(broken[0])


def test_broken_aac(broken):
    path = broken[0] / "audio/64/seg_00001.ts"
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\xf1")] = 0
    path.write_bytes(data)
    assert "transport" in rules(broken[0])


def test_other_boundaries_in_another_rendition(broken):
    lines = (broken[1] / "v240/index.m3u8").read_text().splitlines()
    assert lines[6].startswith("#EXTINF")
    lines[6] = "#EXTINF:2.500000,"
    (broken[1] / "v240/index.m3u8").write_text("\n".join(lines) + "\n")
    assert "same-duration" in rules(broken[1])


def test_what_ffmpeg_writes_itself_is_found_wanting(tmp_path):
    """Its master playlist of a muxed stream lacks what players want to know."""
    import subprocess
    subprocess.run(["ffmpeg", "-v", "error", "-i", media("long.mp4"), "-c", "copy", "-hls_playlist_type", "vod",
                    "-master_pl_name", "master.m3u8", "-f", "hls", tmp_path / "index.m3u8"], check=True)
    assert {"independent-segments", "average-bandwidth", "frame-rate", "streams"} <= rules(tmp_path)
