"""MPEG transport streams, taken apart as far as a player looks: packets, tables, PES, access units, AAC frames."""
import dataclasses

from .h264 import Sps

PACKET = 188
PAT, SDT = 0, 17
H264, AAC_ADTS = 0x1B, 0x0F
NAL_SLICE, NAL_IDR, NAL_SEI, NAL_SPS, NAL_PPS, NAL_AUD = 1, 5, 6, 7, 8, 9
ADTS_RATES = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350]


@dataclasses.dataclass
class Pes:
    pts: int | None
    dts: int | None
    random_access: bool
    payload: bytes


@dataclasses.dataclass
class AccessUnit:
    pts: int
    dts: int
    random_access: bool
    nals: list  # types, in order

    @property
    def idr(self):
        return NAL_IDR in self.nals


@dataclasses.dataclass
class Segment:
    """One .ts file. `errors` are what is wrong with it on its own."""
    size: int
    errors: list = dataclasses.field(default_factory=list)
    starts_with_tables: bool = False
    streams: dict = dataclasses.field(default_factory=dict)     # pid → stream type
    first_counter: dict = dataclasses.field(default_factory=dict)  # pid → counter of its first packet with payload
    last_counter: dict = dataclasses.field(default_factory=dict)
    pes: dict = dataclasses.field(default_factory=dict)         # pid → [Pes]
    units: list = dataclasses.field(default_factory=list)       # AccessUnit of the video
    sps: Sps | None = None
    pps_first: bool = False                                     # parameter sets stand before the first picture
    audio_pts: list = dataclasses.field(default_factory=list)   # of each AAC frame, 90 kHz
    audio_rate: int | None = None
    audio_channels: int | None = None
    audio_object_type: int | None = None


def timestamp(b):
    return (b[0] >> 1 & 7) << 30 | b[1] << 22 | (b[2] >> 1) << 15 | b[3] << 7 | b[4] >> 1


def parse_pes(data, random_access, errors):
    if data[:3] != b"\0\0\1" or len(data) < 9:
        errors.append("a PES packet without its start code")
        return None
    flags, header = data[7] >> 6, data[8]
    pts = timestamp(data[9:14]) if flags & 2 else None
    dts = timestamp(data[14:19]) if flags == 3 else pts
    length = data[4] << 8 | data[5]
    end = len(data) if length == 0 else 6 + length
    if end > len(data):
        errors.append(f"a PES packet of {length} bytes is cut off")
    return Pes(pts, dts, random_access, data[9 + header:end])


class Parser:
    def __init__(self, data):
        self.data = data
        self.segment = Segment(len(data))
        self.pmt_pids = set()
        self.open = {}  # pid → [random access, bytearray]

    def error(self, text):
        if text not in self.segment.errors:
            self.segment.errors.append(text)

    def parse(self):
        if len(self.data) % PACKET or not self.data:
            self.error(f"{len(self.data)} bytes are no whole number of packets")
        for number in range(len(self.data) // PACKET):
            self.packet(number, self.data[number * PACKET:(number + 1) * PACKET])
        for pid in list(self.open):
            self.close_pes(pid)
        return self.segment

    def packet(self, number, p):
        if p[0] != 0x47:
            return self.error("a packet without the sync byte 0x47")
        if p[1] & 0x80:
            self.error("a packet with the transport error indicator")
        start, pid = bool(p[1] & 0x40), (p[1] & 0x1F) << 8 | p[2]
        if pid == 0x1FFF:
            return None
        adaptation, payload_at = p[3] & 0x20, 4
        random_access = False
        if adaptation:
            payload_at += 1 + p[4]
            if p[4] > 0:
                random_access = bool(p[5] & 0x40)
                if p[5] & 0x80:
                    self.error(f"the discontinuity indicator on PID {pid}")
        if number == 0 and pid not in (PAT, SDT):
            self.error("the first packet is no table")
        if p[3] & 0x10:
            self.counter(pid, p[3] & 0x0F)
            self.payload(number, pid, start, random_access, p[payload_at:])
        return None

    def counter(self, pid, counter):
        last = self.segment.last_counter.get(pid)
        if last is None:
            self.segment.first_counter[pid] = counter
        elif counter != (last + 1) % 16:
            self.error(f"continuity counter of PID {pid} jumps from {last} to {counter}")
        self.segment.last_counter[pid] = counter

    def payload(self, number, pid, start, random_access, payload):
        if pid == PAT:
            self.pat(payload)
        elif pid in self.pmt_pids:
            self.pmt(payload)
            if number <= 2:
                self.segment.starts_with_tables = True
        elif pid in self.segment.streams:
            if start:
                self.close_pes(pid)
                self.open[pid] = [random_access, bytearray(payload)]
            elif pid in self.open:
                self.open[pid][1] += payload
            else:
                self.error(f"PID {pid} begins in the middle of a PES packet")

    def pat(self, payload):
        table = payload[1 + payload[0]:]
        length = (table[1] & 0x0F) << 8 | table[2]
        for at in range(8, 3 + length - 4, 4):
            if table[at] << 8 | table[at + 1]:
                self.pmt_pids.add((table[at + 2] & 0x1F) << 8 | table[at + 3])

    def pmt(self, payload):
        table = payload[1 + payload[0]:]
        length = (table[1] & 0x0F) << 8 | table[2]
        at = 12 + ((table[10] & 0x0F) << 8 | table[11])
        while at < 3 + length - 4:
            self.segment.streams[(table[at + 1] & 0x1F) << 8 | table[at + 2]] = table[at]
            at += 5 + ((table[at + 3] & 0x0F) << 8 | table[at + 4])

    def close_pes(self, pid):
        if pid not in self.open:
            return
        random_access, data = self.open.pop(pid)
        pes = parse_pes(bytes(data), random_access, self.segment.errors)
        if pes is None:
            return
        if pes.pts is None:
            return self.error(f"a PES packet of PID {pid} without PTS")
        self.segment.pes.setdefault(pid, []).append(pes)
        if self.segment.streams[pid] == H264:
            self.video(pes)
        elif self.segment.streams[pid] == AAC_ADTS:
            self.audio(pes)

    def video(self, pes):
        nals, at = [], pes.payload.find(b"\0\0\1")
        while at >= 0:
            following = pes.payload.find(b"\0\0\1", at + 3)
            kind = pes.payload[at + 3] & 0x1F
            nals.append(kind)
            if kind == NAL_SPS and self.segment.sps is None:
                self.segment.sps = Sps(pes.payload[at + 3:following if following > 0 else None])
            at = following
        if not self.segment.units:
            pictures = [i for i, kind in enumerate(nals) if kind in (NAL_SLICE, NAL_IDR)]
            before = nals[:pictures[0]] if pictures else []
            self.segment.pps_first = NAL_SPS in before and NAL_PPS in before
        if nals and nals[0] != NAL_AUD:
            self.error("an access unit that does not begin with a delimiter")
        self.segment.units.append(AccessUnit(pes.pts, pes.dts, pes.random_access, nals))

    def audio(self, pes):
        at, frames = 0, 0
        while at + 7 <= len(pes.payload):
            h = pes.payload[at:at + 7]
            if h[0] != 0xFF or h[1] & 0xF6 != 0xF0:
                return self.error("AAC without its ADTS sync word")
            rate = ADTS_RATES[h[2] >> 2 & 15] if h[2] >> 2 & 15 < len(ADTS_RATES) else 0
            size = (h[3] & 3) << 11 | h[4] << 3 | h[5] >> 5
            if rate == 0 or size < 7 or at + size > len(pes.payload):
                return self.error("a broken ADTS header")
            self.segment.audio_rate = rate
            self.segment.audio_channels = (h[2] & 1) << 2 | h[3] >> 6
            self.segment.audio_object_type = (h[2] >> 6) + 1
            self.segment.audio_pts.append(pes.pts + round(frames * 1024 * 90000 / rate))
            at += size
            frames += 1
        if at != len(pes.payload):
            self.error("bytes behind the last AAC frame of a PES packet")
        return None


def parse(data):
    parser = Parser(data)
    try:
        return parser.parse()
    except IndexError:
        parser.error("a table or header that is cut off")
        return parser.segment
