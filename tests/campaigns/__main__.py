"""Run all campaigns, one after the other, and print one table: ``python -m tests.campaigns``, an hour on two cores."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator

from common.errors import run_command

CAMPAIGNS = {
    "damaged files": "tests.campaigns.damage.campaign",
    "values in JSON": "tests.campaigns.damage.json_values",
    "killed commands": "tests.campaigns.kills.campaign",
    "disks and limits": "tests.campaigns.disk.campaign",
    "machines and their network": "tests.campaigns.network.campaign",
    "a long run": "tests.campaigns.soak",
}


def run(module: str) -> Iterator[str]:
    """Run a campaign, print its output and yield its lines.

    Raises:
        subprocess.CalledProcessError: it found faults.
    """
    command = [sys.executable, "-u", "-m", module]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            yield line.rstrip()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def main() -> int:
    """Run the campaigns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(CAMPAIGNS), help="this campaign; may be repeated")
    args = parser.parse_args()
    table = ["| campaign | result | minutes |", "|---|---|---|"]
    failed = False
    for name in args.only or CAMPAIGNS:
        print(f"\n{name}\n", flush=True)
        start, last = time.monotonic(), ""
        try:
            for line in run(CAMPAIGNS[name]):
                last = line or last
        except subprocess.CalledProcessError:
            failed = True
        table.append(f"| {name} | {last} | {(time.monotonic() - start) / 60:.1f} |")
    print("\n" + "\n".join(table))
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main)
