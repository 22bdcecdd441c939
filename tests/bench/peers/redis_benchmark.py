"""redis-benchmark as if it were one of our generators: the same words, the same JSON.

    redis_benchmark.py pub --server HOST:PORT --messages N --size BYTES --window N

One connection sends XADD with one field, `window` of them in a pipeline, as redis_bench does.
"""
import argparse
import csv
import json
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["pub"])
    parser.add_argument("--server", required=True)
    parser.add_argument("--messages", type=int, default=1000000)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--window", type=int, default=1000)
    options = parser.parse_args()
    host, port = options.server.rsplit(":", 1)
    done = subprocess.run(["redis-benchmark", "-h", host, "-p", port, "-c", "1", "-P", str(options.window), "-n", str(options.messages),
                           "--csv", "XADD", "bench", "*", "p", "x" * options.size], capture_output=True, text=True)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    if done.returncode != 0 or len(rows) != 1:
        sys.exit(f"redis-benchmark ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    rate = float(rows[0]["rps"])
    print(json.dumps({"mode": "pub", "messages": options.messages, "size": options.size, "window": options.window,
                      "seconds": round(options.messages / rate, 3), "msgs_per_s": rate}))


main()
