"""The H.264 sequence parameter set (ITU-T H.264, 7.3.2.1.1 and E.1.1)."""

HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
SAR = [(0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11), (80, 33), (18, 11),
       (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1)]


class Bits:
    def __init__(self, nal):
        self.data, zeros = bytearray(), 0
        for byte in nal:  # without the bytes that keep start codes from appearing
            if zeros >= 2 and byte == 3:
                zeros = 0
                continue
            zeros = zeros + 1 if byte == 0 else 0
            self.data.append(byte)
        self.at = 0

    def u(self, count):
        value = 0
        for _ in range(count):
            value = value << 1 | (self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1)
            self.at += 1
        return value

    def ue(self):
        zeros = 0
        while self.u(1) == 0:
            zeros += 1
            if zeros > 32:
                raise IndexError("no Exp-Golomb number")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self):
        n = self.ue()
        return (n + 1) // 2 if n & 1 else -(n // 2)


def skip_scaling_list(bits, size):
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


class Sps:
    def __init__(self, nal):
        bits = Bits(nal)
        bits.u(8)
        self.profile, self.constraints, self.level = bits.u(8), bits.u(8), bits.u(8)
        bits.ue()
        self.chroma, self.depth = 1, 8
        if self.profile in HIGH_PROFILES:
            self.read_high(bits)
        self.read_frames(bits)
        self.sar, self.full_range, self.primaries, self.transfer, self.matrix = (1, 1), False, 2, 2, 2
        if bits.u(1):
            self.read_vui(bits)

    def read_high(self, bits):
        self.chroma = bits.ue()
        if self.chroma == 3:
            bits.u(1)
        self.depth = 8 + max(bits.ue(), bits.ue())
        bits.u(1)
        if bits.u(1):
            for i in range(8 if self.chroma != 3 else 12):
                if bits.u(1):
                    skip_scaling_list(bits, 16 if i < 6 else 64)

    def read_frames(self, bits):
        bits.ue()
        order = bits.ue()
        if order == 0:
            bits.ue()
        elif order == 1:
            bits.u(1), bits.se(), bits.se()
            for _ in range(bits.ue()):
                bits.se()
        bits.ue(), bits.u(1)
        width, height = bits.ue() + 1, bits.ue() + 1
        self.progressive = bits.u(1) == 1
        if not self.progressive:
            bits.u(1)
        bits.u(1)
        crop = [0, 0, 0, 0]
        if bits.u(1):
            crop = [bits.ue() for _ in range(4)]
        step_x = 2 if self.chroma in (1, 2) else 1
        step_y = (2 if self.chroma == 1 else 1) * (1 if self.progressive else 2)
        self.width = width * 16 - step_x * (crop[0] + crop[1])
        self.height = height * 16 * (1 if self.progressive else 2) - step_y * (crop[2] + crop[3])

    def read_vui(self, bits):
        if bits.u(1):
            kind = bits.u(8)
            self.sar = (bits.u(16), bits.u(16)) if kind == 255 else SAR[kind] if kind < len(SAR) else (0, 1)
        if bits.u(1):
            bits.u(1)
        if bits.u(1):
            bits.u(3)
            self.full_range = bits.u(1) == 1
            if bits.u(1):
                self.primaries, self.transfer, self.matrix = bits.u(8), bits.u(8), bits.u(8)

    @property
    def codec(self):
        return f"avc1.{self.profile:02x}{self.constraints:02x}{self.level:02x}"

    @property
    def video_range(self):
        return {16: "PQ", 18: "HLG"}.get(self.transfer, "SDR")
