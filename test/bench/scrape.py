#!/usr/bin/env python3
# scrape.py - asks an HTTP server for a page again and again.
#
#   scrape.py URL TIMES [PAUSE]
#   scrape.py URL -
#
# The second form asks once for each line that it reads.
#
# Prints, in one line, the median and the 99th percentile of the time until the
# answer was read, in milliseconds, its bytes, and its samples if it is a
# scrape.  The connection is kept open, as Prometheus keeps it.

import http.client
import sys
import time
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
times = sys.stdin if sys.argv[2] == "-" else range(int(sys.argv[2]))
pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
taken = []
for _ in times:
    began = time.perf_counter()
    connection.request("GET", url.path)
    answer = connection.getresponse()
    body = answer.read()
    taken.append((time.perf_counter() - began) * 1000)
    if answer.status != 200:
        sys.exit(f"{sys.argv[1]}: status {answer.status}")
    time.sleep(pause)
taken.sort()
samples = sum(1 for line in body.split(b"\n") if line and not line.startswith(b"#"))
print(f"{taken[len(taken) // 2]:.2f} {taken[len(taken) * 99 // 100]:.2f} {len(body)} {samples}")
