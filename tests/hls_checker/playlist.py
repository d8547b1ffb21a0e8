"""Reading playlists (RFC 8216). Strict where players differ: an unknown form is an error here."""
import dataclasses
import re


class PlaylistError(Exception):
    pass


ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)(?:,|$)')


def attributes(text):
    """The attribute list of a tag as a dict; quoted values keep their quotes, so that a check can tell."""
    found, at = {}, 0
    while at < len(text):
        match = ATTRIBUTE.match(text, at)
        if not match:
            raise PlaylistError(f"malformed attribute list: {text!r}")
        if match[1] in found:
            raise PlaylistError(f"attribute {match[1]} twice: {text!r}")
        found[match[1]] = match[2]
        at = match.end()
    return found


def unquoted(value):
    return value[1:-1] if value is not None and value.startswith('"') else value


def lines_of(text):
    if not text.startswith("#EXTM3U"):
        raise PlaylistError("does not start with #EXTM3U")
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()][1:]


@dataclasses.dataclass
class Variant:
    uri: str
    attributes: dict

    def number(self, name):
        value = self.attributes.get(name)
        return float(value) if value is not None else None

    def text(self, name):
        return unquoted(self.attributes.get(name))


@dataclasses.dataclass
class Master:
    version: int | None = None
    independent: bool = False
    variants: list = dataclasses.field(default_factory=list)
    media: list = dataclasses.field(default_factory=list)  # attribute dicts of EXT-X-MEDIA


def parse_master(text):
    master, pending = Master(), None
    for line in lines_of(text):
        tag, _, rest = line.partition(":")
        if tag == "#EXT-X-VERSION":
            master.version = int(rest)
        elif tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            master.independent = True
        elif tag == "#EXT-X-MEDIA":
            master.media.append(attributes(rest))
        elif tag == "#EXT-X-STREAM-INF":
            pending = attributes(rest)
        elif not line.startswith("#"):
            if pending is None:
                raise PlaylistError(f"a URI without EXT-X-STREAM-INF: {line}")
            master.variants.append(Variant(line, pending))
            pending = None
    if pending is not None:
        raise PlaylistError("EXT-X-STREAM-INF without a URI")
    return master


@dataclasses.dataclass
class MediaSegment:
    uri: str
    duration: float


@dataclasses.dataclass
class Media:
    version: int | None = None
    target: int | None = None
    sequence: int = 0
    type: str | None = None
    ended: bool = False
    segments: list = dataclasses.field(default_factory=list)

    def duration(self):
        return sum(s.duration for s in self.segments)

    def starts(self):
        at, starts = 0.0, []
        for segment in self.segments:
            starts.append(at)
            at += segment.duration
        return starts


def parse_media(text):
    media, duration = Media(), None
    for line in lines_of(text):
        tag, _, rest = line.partition(":")
        if tag == "#EXT-X-VERSION":
            media.version = int(rest)
        elif tag == "#EXT-X-TARGETDURATION":
            media.target = int(rest)
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            media.sequence = int(rest)
        elif tag == "#EXT-X-PLAYLIST-TYPE":
            media.type = rest
        elif tag == "#EXT-X-ENDLIST":
            media.ended = True
        elif tag == "#EXTINF":
            duration = float(rest.split(",")[0])
        elif not line.startswith("#"):
            if duration is None:
                raise PlaylistError(f"a segment without EXTINF: {line}")
            media.segments.append(MediaSegment(line, duration))
            duration = None
    if duration is not None:
        raise PlaylistError("EXTINF without a URI")
    return media
