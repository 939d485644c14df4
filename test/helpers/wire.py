"""
Carries frames between pairs of interfaces of its namespace, badly: each frame that comes in on the
first of a pair is lost with a chance, or waits: as long as all, and for a random time more, in which
later ones overtake it.
The other way it goes as it is.

    wire.py carry LOSS_PERCENT DELAY_MS JITTER_MS FROM:TO ...
    wire.py whole INTERFACE      hands out whole frames with checksums, as a real cable needs them
    wire.py tap INTERFACE TEXT   until stdin ends: bytes that went by, and frames with the text
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import socket
import struct
import sys
import time

SIOCETHTOOL = 0x8946
# Checksums sent, scatter-gather, TCP and UDP segmentation, generic offloads: all off.
OFFLOADS = (0x17, 0x19, 0x1F, 0x22, 0x24, 0x2C)
ALL_PROTOCOLS = 3
PACKET_IGNORE_OUTGOING = 23
FRAMES_AT_ONCE = 64
LONGEST_FRAME = 65600
LONGEST_QUEUE = 50000


def whole(interface):
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for command in OFFLOADS:
        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
        request = struct.pack("16sP", interface.encode(), ctypes.addressof(value)) + b"\0" * 16
        try:
            fcntl.ioctl(control, SIOCETHTOOL, request)
        except OSError:
            pass  # Not every interface has every offload.


def opened(interface):
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    frames.bind((interface, ALL_PROTOCOLS))
    frames.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)
    frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    frames.setblocking(False)
    return frames


def carry(loss, delay, jitter, pairs):
    other, bad = {}, set()
    for pair in pairs:
        near, far = (opened(name) for name in pair.split(":"))
        other[near], other[far] = far, near
        bad.add(near)
    counts = {"carried": 0, "lost": 0, "dropped": 0}

    def end(*_):
        print(" ".join(f"{name} {n}" for name, n in counts.items()), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    queue, serial = [], 0
    while True:
        wait = max(0, queue[0][0] - time.monotonic()) if queue else None
        for source in select.select(list(other), [], [], wait)[0]:
            for _ in range(FRAMES_AT_ONCE):
                try:
                    frame = source.recv(LONGEST_FRAME)
                except OSError:
                    break
                if source in bad and random.random() * 100 < loss:
                    counts["lost"] += 1
                elif len(queue) >= LONGEST_QUEUE:
                    counts["dropped"] += 1
                else:
                    wait = (delay + random.random() * jitter) / 1000 if source in bad else 0
                    serial += 1
                    heapq.heappush(queue, (time.monotonic() + wait, serial, other[source], frame))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, _, target, frame = heapq.heappop(queue)
            try:
                target.send(frame)
                counts["carried"] += 1
            except OSError:
                counts["dropped"] += 1


def tap(interface, text):
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    port.bind((interface, 0))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    print("ready", flush=True)
    size = found = 0
    while True:
        readable, _, _ = select.select([port, sys.stdin], [], [])
        if port in readable:
            frame = port.recv(LONGEST_FRAME)
            size += len(frame)
            found += text.encode() in frame
        elif sys.stdin in readable:
            print(size, found, flush=True)
            return


if sys.argv[1] == "whole":
    whole(sys.argv[2])
elif sys.argv[1] == "tap":
    tap(sys.argv[2], sys.argv[3])
else:
    carry(*map(float, sys.argv[2:5]), sys.argv[5:])
