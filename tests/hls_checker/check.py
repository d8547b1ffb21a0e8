"""The rules. Each is a method of Checker that adds problems; a Problem names the rule, so that tests can ask for it."""
import dataclasses
import pathlib
import urllib.parse
import urllib.request

from . import playlist, ts

TICKS = 90000
WRAP = 1 << 33
IDR_EVERY_S = 2.0
MS = 0.001


@dataclasses.dataclass(frozen=True)
class Problem:
    where: str
    rule: str
    text: str

    def __str__(self):
        return f"{self.where}: {self.rule}: {self.text}"


@dataclasses.dataclass
class Rendition:
    """A media playlist and what its segments hold."""
    uri: str
    kind: str  # video or audio
    media: playlist.Media
    segments: list  # ts.Segment, as far as they could be read

    def bits(self):
        return [8 * s.size for s in self.segments]

    def rates(self):
        """Measured peak and average in bit/s, as RFC 8216bis defines them."""
        durations, bits, target = [s.duration for s in self.media.segments], self.bits(), self.media.target or 1
        average = sum(bits) / max(sum(durations), 1e-9)
        peak = average
        for i in range(len(bits)):
            size = length = 0.0
            for j in range(i, len(bits)):
                size, length = size + bits[j], length + durations[j]
                if length > 1.5 * target + 1e-6:
                    break
                if length >= 0.5 * target - 1e-6:
                    peak = max(peak, size / length)
        return peak, average

    def sps(self):
        return next((s.sps for s in self.segments if s.sps), None)

    def units(self):
        return [u for s in self.segments for u in s.units]

    def audio_frame_s(self):
        return next((1024 / s.audio_rate for s in self.segments if s.audio_rate), 1024 / 48000)

    def first_pts(self):
        """Of each segment in presentation order, in ticks; None where there is none."""
        return [min((u.pts for u in s.units), default=None) if self.kind == "video" else
                (s.audio_pts[0] if s.audio_pts else None) for s in self.segments]


@dataclasses.dataclass
class Report:
    problems: list = dataclasses.field(default_factory=list)
    master: playlist.Master | None = None
    renditions: dict = dataclasses.field(default_factory=dict)  # uri → Rendition

    def rules(self):
        return {p.rule for p in self.problems}

    def video(self):
        return [self.renditions[v.uri] for v in self.master.variants if v.uri in self.renditions]

    def audio(self):
        return [r for r in self.renditions.values() if r.kind == "audio"]

    def summary(self):
        for r in self.renditions.values():
            peak, average = r.rates()
            sps = r.sps()
            size = f"{sps.width}x{sps.height} {sps.codec}" if sps else "sound"
            yield (f"{r.uri}: {size}, {len(r.segments)} segments, {r.media.duration():.3f} s, "
                   f"peak {peak / 1000:.0f} average {average / 1000:.0f} kbit/s")


class Checker:
    def __init__(self, where):
        self.report = Report()
        if where.startswith(("http://", "https://")):
            self.base, self.read = where, self.read_http
            self.master_uri = where
        else:
            path = pathlib.Path(where)
            path = path / "master.m3u8" if path.is_dir() else path
            self.base, self.read = str(path), self.read_file
            self.master_uri = str(path)

    def read_file(self, address):
        return pathlib.Path(address).read_bytes()

    def read_http(self, address):
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.read()

    def problem(self, where, rule, text):
        self.report.problems.append(Problem(where, rule, text))

    def resolve(self, base, uri):
        if base.startswith(("http://", "https://")):
            return urllib.parse.urljoin(base, uri)
        return str(pathlib.Path(base).parent / urllib.parse.unquote(uri))

    # ---- loading

    def run(self):
        try:
            self.report.master = playlist.parse_master(self.read(self.master_uri).decode())
        except (OSError, ValueError, playlist.PlaylistError) as failure:
            self.problem("master", "unreadable", str(failure))
            return self.report
        master = self.report.master
        for variant in master.variants:
            self.load(variant.uri, "video")
        for media in master.media:
            if media.get("TYPE") == "AUDIO" and "URI" in media:
                self.load(playlist.unquoted(media["URI"]), "audio")
        self.check_master()
        for variant in master.variants:
            if variant.uri in self.report.renditions:
                self.check_variant(variant, self.report.renditions[variant.uri])
        for rendition in self.report.renditions.values():
            self.check_media(rendition)
            self.check_transport(rendition)
            if rendition.kind == "video":
                self.check_video(rendition)
            else:
                self.check_audio(rendition)
        self.check_together()
        return self.report

    def load(self, uri, kind):
        if uri in self.report.renditions:
            return
        self.check_relative("master", uri)
        address = self.resolve(self.base, uri)
        try:
            media = playlist.parse_media(self.read(address).decode())
        except (OSError, ValueError, playlist.PlaylistError) as failure:
            self.problem(uri, "unreadable", str(failure))
            return
        rendition = Rendition(uri, kind, media, [])
        for segment in media.segments:
            self.check_relative(uri, segment.uri)
            try:
                rendition.segments.append(ts.parse(self.read(self.resolve(address, segment.uri))))
            except OSError as failure:
                self.problem(f"{uri} {segment.uri}", "missing-segment", str(failure))
                rendition.segments.append(ts.Segment(0))
        self.report.renditions[uri] = rendition

    def check_relative(self, where, uri):
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme or parts.netloc or uri.startswith("/") or ".." in uri.split("/"):
            self.problem(where, "relative-uri", f"{uri} is not relative to its playlist")

    # ---- master

    def check_master(self):
        master = self.report.master
        if not master.variants:
            self.problem("master", "variants", "there is none")
        if not master.independent:
            self.problem("master", "independent-segments", "EXT-X-INDEPENDENT-SEGMENTS is missing")
        if master.version is not None and master.version > 7:
            self.problem("master", "version", f"{master.version} is higher than anything here needs")
        seen = set()
        for media in master.media:
            for name in ("TYPE", "GROUP-ID", "NAME", "LANGUAGE", "URI"):
                if name not in media:
                    self.problem("master", "audio-attributes", f"EXT-X-MEDIA without {name}")
            if media.get("DEFAULT") not in ("YES", "NO"):
                self.problem("master", "audio-attributes", "EXT-X-MEDIA without DEFAULT=YES or NO")
            key = media.get("GROUP-ID"), media.get("NAME")
            if key in seen:
                self.problem("master", "audio-attributes", f"{key} stands there twice")
            seen.add(key)
        self.check_aspect()

    def check_aspect(self):
        sizes = []
        for variant in self.report.master.variants:
            try:
                sizes.append(tuple(int(n) for n in variant.attributes["RESOLUTION"].split("x")))
            except (KeyError, ValueError):
                self.problem("master", "resolution", f"{variant.uri}: no RESOLUTION")
        for w, h in sizes[1:]:
            W, H = sizes[0]
            if abs(w - W * h / H) > 2 and abs(h - H * w / W) > 2:
                self.problem("master", "aspect", f"{w}x{h} has another shape than {W}x{H}")
        if len(set(sizes)) != len(sizes):
            self.problem("master", "resolution", "two variants have the same size")

    def check_variant(self, variant, rendition):
        where = f"master {variant.uri}"
        peak, average = rendition.rates()
        audio = self.audio_of(variant)
        if audio:
            peak, average = peak + audio.rates()[0], average + audio.rates()[1]
        self.check_rate(where, variant, "BANDWIDTH", peak, 0.001, 0.1)
        self.check_rate(where, variant, "AVERAGE-BANDWIDTH", average, 0.1, 0.1)
        self.check_codecs(where, variant, rendition, audio)
        self.check_frame_rate(where, variant, rendition)

    def audio_of(self, variant):
        group = variant.text("AUDIO")
        if group is None:
            if self.report.master.media:
                self.problem(f"master {variant.uri}", "audio-group", "no AUDIO although there are audio renditions")
            return None
        for media in self.report.master.media:
            if playlist.unquoted(media.get("GROUP-ID")) == group:
                return self.report.renditions.get(playlist.unquoted(media.get("URI")))
        self.problem(f"master {variant.uri}", "audio-group", f"group {group} does not exist")
        return None

    def check_rate(self, where, variant, name, measured, below, above):
        said = variant.number(name)
        if said is None:
            self.problem(where, name.lower(), "missing")
        elif not measured * (1 - below) <= said <= measured * (1 + above):
            self.problem(where, name.lower(), f"says {said:.0f}, measured {measured:.0f}")

    def check_codecs(self, where, variant, rendition, audio):
        said = variant.text("CODECS")
        if said is None or not variant.attributes["CODECS"].startswith('"'):
            self.problem(where, "codecs", "missing or not quoted")
            return
        sps = rendition.sps()
        wanted = [sps.codec] if sps else []
        if audio:
            kinds = {s.audio_object_type for s in audio.segments if s.audio_object_type}
            wanted += [f"mp4a.40.{kind}" for kind in sorted(kinds)]
        if said.split(",") != wanted:
            self.problem(where, "codecs", f"says {said}, measured {','.join(wanted)}")
        if sps and variant.attributes.get("RESOLUTION") != f"{sps.width}x{sps.height}":
            self.problem(where, "resolution", f"says {variant.attributes.get('RESOLUTION')}, "
                                              f"measured {sps.width}x{sps.height}")
        if sps and variant.attributes.get("VIDEO-RANGE", "SDR") != sps.video_range:
            self.problem(where, "video-range", f"says {variant.attributes.get('VIDEO-RANGE')}, "
                                               f"measured {sps.video_range}")

    def check_frame_rate(self, where, variant, rendition):
        text = variant.attributes.get("FRAME-RATE")
        if text is None or len(text.partition(".")[2]) != 3:
            self.problem(where, "frame-rate", f"{text}: three decimals are wanted")
            return
        said = float(text)
        times = sorted(u.pts for u in rendition.units())
        gaps = [b - a for a, b in zip(times, times[1:])]
        if said > 60:
            self.problem(where, "frame-rate", f"{said} is over 60")
        if not gaps or times[0] == times[-1]:
            return
        measured = len(gaps) * TICKS / (times[-1] - times[0])
        constant = max(gaps) - min(gaps) <= 180  # timestamps in milliseconds jitter by one
        if measured > said * 1.01 or (constant and measured < said * 0.99):
            self.problem(where, "frame-rate", f"says {said}, measured {measured:.3f}")

    # ---- one rendition

    def check_media(self, r):
        m = r.media
        if m.version is None or m.version < 3:
            self.problem(r.uri, "version", f"{m.version}: EXTINF with decimals needs 3")
        if m.type != "VOD":
            self.problem(r.uri, "playlist-type", f"{m.type} is not VOD")
        if not m.ended:
            self.problem(r.uri, "endlist", "missing")
        if m.sequence != 0:
            self.problem(r.uri, "media-sequence", f"starts at {m.sequence}")
        if m.target is None:
            self.problem(r.uri, "target-duration", "missing")
        if not m.segments:
            self.problem(r.uri, "segments", "there is none")
        for s in m.segments:
            if m.target is not None and int(s.duration + 0.5) > m.target:
                self.problem(f"{r.uri} {s.uri}", "target-duration", f"{s.duration} is over {m.target}")
            if s.duration <= 0:
                self.problem(f"{r.uri} {s.uri}", "extinf", f"{s.duration}")

    def check_transport(self, r):
        wanted = ts.H264 if r.kind == "video" else ts.AAC_ADTS
        before = None
        for entry, s in zip(r.media.segments, r.segments):
            where = f"{r.uri} {entry.uri}"
            for error in s.errors:
                self.problem(where, "transport", error)
            if not s.starts_with_tables:
                self.problem(where, "tables", "does not begin with PAT and PMT")
            if list(s.streams.values()) != [wanted]:
                self.problem(where, "streams", f"holds {s.streams}")
            for pid, counter in s.first_counter.items():
                if before is not None and pid in before.last_counter:
                    last = before.last_counter[pid]
                    if counter != (last + 1) % 16:
                        self.problem(where, "continuity", f"PID {pid} goes from {last} to {counter}")
            before = s

    def check_video(self, r):
        for entry, s in zip(r.media.segments, r.segments):
            where = f"{r.uri} {entry.uri}"
            if not s.units:
                self.problem(where, "idr-start", "no picture")
                continue
            first = s.units[0]
            if not first.idr:
                self.problem(where, "idr-start", "does not begin with an IDR picture")
            if not s.pps_first:
                self.problem(where, "parameter-sets", "not before the first picture")
            if not first.random_access:
                self.problem(where, "random-access", "the first picture is not marked")
            self.check_groups(where, s)
        self.check_picture_times(r)
        sps = [s.sps for s in r.segments if s.sps]
        for other in sps[1:]:
            if (other.codec, other.width, other.height) != (sps[0].codec, sps[0].width, sps[0].height):
                self.problem(r.uri, "parameter-sets", "change from segment to segment")
        if sps and (sps[0].chroma, sps[0].depth) != (1, 8):
            self.problem(r.uri, "pixel-format", f"chroma {sps[0].chroma}, {sps[0].depth} bit")
        if sps and sps[0].sar not in ((1, 1), (0, 1)):
            self.problem(r.uri, "pixel-aspect", f"{sps[0].sar}")
        if sps and not sps[0].progressive:
            self.problem(r.uri, "interlaced", "the stream is not progressive")
        if sps and sps[0].full_range:
            self.problem(r.uri, "colour-range", "full range")

    def check_groups(self, where, s):
        """Closed groups: nothing that comes after an IDR picture is shown before it."""
        idr = None
        for unit in s.units:
            if unit.idr:
                idr = unit.pts
            elif idr is not None and unit.pts < idr:
                self.problem(where, "closed-gop", "a picture behind an IDR picture is shown before it")
                return

    def check_picture_times(self, r):
        units = r.units()
        for a, b in zip(units, units[1:]):
            if b.dts <= a.dts:
                self.problem(r.uri, "dts", f"goes from {a.dts} to {b.dts}")
                break
        if any(u.dts > u.pts for u in units):
            self.problem(r.uri, "dts", "a picture is decoded after it is shown")
        times = sorted(u.pts for u in units)
        if len(set(times)) != len(times):
            self.problem(r.uri, "pts", "two pictures at the same time")
        if not times:
            return
        longest = max((b - a for a, b in zip(times, times[1:])), default=0)
        key = [u.pts for u in units if u.idr] + [times[-1]]
        for a, b in zip(key, key[1:]):
            if b - a > IDR_EVERY_S * TICKS + longest:
                self.problem(r.uri, "idr-interval", f"{(b - a) / TICKS:.3f} s without an IDR picture")
                break
        self.check_starts(r, MS)

    def check_audio(self, r):
        self.check_starts(r, r.audio_frame_s() + MS)
        frames = [p for s in r.segments for p in s.audio_pts]
        step = r.audio_frame_s() * TICKS
        for a, b in zip(frames, frames[1:]):
            if abs(b - a - step) > 2:
                self.problem(r.uri, "audio-gap", f"{(b - a) / TICKS * 1000:.1f} ms from one frame to the next")
                break
        if {s.audio_object_type for s in r.segments if s.audio_pts} - {2}:
            self.problem(r.uri, "audio-profile", "not AAC-LC")

    def check_starts(self, r, tolerance_s):
        """Each segment starts where the EXTINF before it say."""
        starts, first = r.media.starts(), r.first_pts()
        if not first or first[0] is None:
            return
        for entry, start, pts in zip(r.media.segments, starts, first):
            if pts is None:
                self.problem(f"{r.uri} {entry.uri}", "segment-start", "holds no frame")
            elif abs((pts - first[0]) % WRAP / TICKS - start) > tolerance_s:
                self.problem(f"{r.uri} {entry.uri}", "segment-start",
                             f"starts at {(pts - first[0]) / TICKS:.3f} s, the playlist says {start:.3f} s")

    # ---- renditions against each other

    def check_together(self):
        renditions = list(self.report.renditions.values())
        if len({r.media.target for r in renditions}) > 1:
            self.problem("master", "same-target", ", ".join(f"{r.uri} {r.media.target}" for r in renditions))
        video = self.report.video()
        if not video or not video[0].segments or video[0].first_pts()[0] is None:
            return
        for other in renditions[1:]:
            tolerance = MS if other.kind == "video" else other.audio_frame_s() + MS
            self.compare(video[0], other, tolerance)

    def compare(self, reference, other, tolerance_s):
        if abs(reference.media.duration() - other.media.duration()) > tolerance_s:
            self.problem(other.uri, "same-duration", f"{other.media.duration():.3f} s, "
                                                     f"{reference.uri} {reference.media.duration():.3f} s")
        a, b = reference.first_pts(), other.first_pts()
        last_is_tiny = reference.media.segments[-1].duration < other.audio_frame_s() and other.kind == "audio"
        if len(a) != len(b) and not (last_is_tiny and len(a) == len(b) + 1):
            self.problem(other.uri, "same-boundaries", f"{len(b)} segments, {reference.uri} {len(a)}")
        for number, (x, y) in enumerate(zip(a, b)):
            if x is not None and y is not None and abs(x - y) > tolerance_s * TICKS:
                self.problem(other.uri, "same-boundaries", f"segment {number} starts at {y / TICKS:.3f} s, "
                                                           f"in {reference.uri} at {x / TICKS:.3f} s")
                break


def inspect(where):
    """Everything that was measured, with the problems."""
    return Checker(str(where)).run()


def check(where):
    return inspect(where).problems
