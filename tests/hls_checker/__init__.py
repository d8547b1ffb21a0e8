"""Measures whether an HLS ladder is what docs and players expect: not only what the playlists say, but what is in the
segments (transport stream packets, access units, parameter sets, AAC frames).

    problems = check("some/folder/master.m3u8")     # a list of Problem, empty when all is well
    python3 -m hls_checker some/folder              # the same from the command line; also takes an http address
"""
from .check import Problem, Report, check, inspect

__all__ = ["Problem", "Report", "check", "inspect"]
