"""A backend in another process, for the tests of gv.process: y = k * tanh(x) @ W, in 30 lines."""

import json
import sys
import time

import numpy as np

mode = sys.argv[1] if len(sys.argv) > 1 else "right"
read, write = sys.stdin.buffer, sys.stdout.buffer


def receive(specs):
    return {n: np.frombuffer(read.read(int(np.prod(s)) * np.dtype(d).itemsize), d).reshape(s) for n, d, s in specs}


def send(key, arrays):
    write.write(json.dumps({key: [[n, a.dtype.str, a.shape] for n, a in arrays.items()]}).encode() + b"\n")
    write.write(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values()))
    write.flush()


for line in read:
    request = json.loads(line)
    if mode == "hang":
        time.sleep(60)
    if mode == "crash":
        raise RuntimeError("out of cheese")
    if request["call"] == "forward":
        given = receive(request["primals"])
        x, W = given["x"], given["W"]
        k, extra = request["constants"].get("k", 1.0), receive(request["arrays"])
        send("out", {"": k * np.tanh(x) @ W})
    else:
        g = receive(request["upstream"])[""]
        if mode == "huge":
            send("gradients", {"x": np.zeros(4000), "W": W})
        if mode == "error":
            write.write(b'{"error": "no backward today"}\n')
            write.flush()
        if mode == "garbage":
            write.write(b"hello\n")
            write.flush()
        send("gradients", {"x": k * (g @ W.T) * (1 - np.tanh(x) ** 2), "W": k * np.tanh(x).T @ g})
