"""python3 -m hls_checker MASTER: prints what was measured and every problem; exit status 1 when there is one."""
import argparse
import sys

from .check import inspect


def main():
    parser = argparse.ArgumentParser(prog="hls_checker", description=__doc__)
    parser.add_argument("master", help="a master playlist, the folder it stands in, or an http address of one")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the problems")
    arguments = parser.parse_args()
    report = inspect(arguments.master)
    if not arguments.quiet:
        for line in report.summary():
            print(line)
    for problem in report.problems:
        print(problem)
    print(f"{len(report.problems)} problems")
    return 1 if report.problems else 0


sys.exit(main())
