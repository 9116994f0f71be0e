#!/usr/bin/env python3
"""Sends the lines of a file by the HTTP API, and follows each until it is known what became of it.

    ACEQUIA_URL=http://127.0.0.1:8080 ACEQUIA_TOKEN=acq_... python3 send.py DOMAIN ENTITY FILE

Nothing but the standard library. Exit status: 0 every line was accepted, 1 some were refused, 2 it could not be done.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BASE = os.environ.get("ACEQUIA_URL", "http://127.0.0.1:8080")
TOKEN = os.environ.get("ACEQUIA_TOKEN", "")
FOLLOW_SECONDS = 60
UNDER_WAY = {"unknown", "staged"}


def call(method, path, body=None, attempts=5):
    """The answer of a call; None for 404. Calls that came too early or too often are made again."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
    for attempt in range(1, attempts + 1):
        request = urllib.request.Request(BASE + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404 and method == "GET":
                return None
            wait = error.headers.get("Retry-After")
            if wait is None or attempt == attempts:
                problem = json.load(error)
                raise SystemExit(f"{problem['code']}: {problem['detail']}") from error
            time.sleep(float(wait))
    raise AssertionError("a call is answered or fails")


def follow(message_id):
    """What became of a message."""
    path = "/v1/messages/" + urllib.parse.quote(message_id, safe="")
    until = time.monotonic() + FOLLOW_SECONDS
    while True:
        trace = call("GET", path)
        outcome = trace["outcome"] if trace else "unknown"
        if outcome not in UNDER_WAY or time.monotonic() > until:
            return outcome
        time.sleep(0.2)


def main(domain, entity, file):
    with open(file, "rb") as lines:
        body = lines.read()
    path = f"/v1/messages/{domain}/{entity}"

    # A dry run checks every line and sends nothing.
    checked = call("POST", path + "?dry_run=true", body)
    for line in checked["lines"]:
        for fault in line.get("errors", []):
            print(f"line {line['line']}: {fault['code']} at {fault['field']}: {fault['message']}")
    print(f"dry run: {checked['valid']} valid, {checked['refused']} refused")

    # The good lines are sent whatever the others are. Each names its event_id: sent twice, it has no second effect.
    sent = call("POST", path, body)
    print(f"sent: {sent['sent']}")
    for line in sent["lines"]:
        if line["status"] == "sent":
            print(f"line {line['line']}: {line['message_id']} is {follow(line['message_id'])}")
    return 1 if sent["refused"] else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(*sys.argv[1:]))
    except (OSError, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)
