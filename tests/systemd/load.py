"""Sends requests to the daemon, each over a connection of its own, from some threads, until a file is there.

Usage: load.py FILE THREADS [ADDRESS TOKEN]: at the API's socket, or with a token at an address of the network. Prints a line for each hundred, and at the end how many there were; ends with 1 if one was refused, cut off or answered with an error.
"""
import os
import socket
import sys
import threading
import time

PATHS = ["/health", "/api/status", "/api/jobs?limit=5"]
times = []
faults = []
lock = threading.Lock()


head = "Host: localhost\r\nConnection: close\r\n"
family, place = socket.AF_UNIX, "/run/assistant/api.sock"
if len(sys.argv) > 3:
    host, port = sys.argv[3].split(":")
    family, place = socket.AF_INET, (host, int(port))
    head = f"Host: {sys.argv[3]}\r\nAuthorization: Bearer {sys.argv[4]}\r\nConnection: close\r\n"


def ask(path):
    with socket.socket(family) as connection:
        connection.settimeout(60)
        connection.connect(place)
        connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    status, _, body = answer.partition(b"\r\n\r\n")
    if not status.startswith(b"HTTP/1.1 200") or not body:
        raise ValueError(f"answered {status[:60]!r}")


def send(end):
    turn = 0
    while not os.path.exists(end) and len(faults) < 20:
        begun = time.monotonic()
        turn += 1
        try:
            ask(PATHS[turn % len(PATHS)])
        except (OSError, ValueError) as fault:
            with lock:
                faults.append(f"{PATHS[turn % len(PATHS)]}: {fault!r}")
        with lock:
            times.append(time.monotonic() - begun)
            if len(times) % 100 == 0:
                print("and a hundred", flush=True)


threads = [threading.Thread(target=send, args=(sys.argv[1],)) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
times.sort()
print(
    f"{len(times)} requests, {len(faults)} faults, 99 of 100 answered within {times[len(times) * 99 // 100] * 1000:.1f} ms,"
    f" the slowest within {times[-1]:.2f} s",
    *faults,
    sep="\n",
)
sys.exit(1 if faults else 0)
