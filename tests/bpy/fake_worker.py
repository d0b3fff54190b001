"""A worker without an engine: speaks the protocol, tracks by copying, and misbehaves on demand.

Run by an interpreter of its own, so nothing of the package is imported. `MODE` is put in front of this text.
"""

import json
import os
import sys
import threading
import time

import numpy as np

MODE = globals().get("MODE", "good")
LOCK = threading.Lock()


def say(event, **values):
    with LOCK:
        sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
        sys.stdout.flush()


def beat():
    while MODE != "mute":
        time.sleep(0.5)
        say("heartbeat")


def write_frame(folder, frame, vertices):
    path = os.path.join(folder, "geometry", f"{frame:06d}.npy")
    if MODE == "empty frame" and frame == 3:
        open(path, "wb").close()
    else:
        np.save(path, (vertices + 0.001 * frame).astype(np.float32))
    metrics = {"frame": frame, "residual_px": {"cam00": 0.1 * frame, "cam01": 0.3 * frame}}
    with open(os.path.join(folder, "metrics.jsonl"), "a") as file:
        file.write(json.dumps(metrics) + "\n")
    say("frame", frame=frame, path=path, metrics=metrics)


def run(command, cancelled):
    if command["job"] == "bake":
        with open(os.path.join(command["take"], "baked.json"), "w") as file:
            json.dump(command, file)
        say("texture", frame=1, path="", proxy="")
        return say("error", code="cancelled", sentence="Stopped.") if MODE == "no bake" else say("done", job="bake")
    return track(command, cancelled)


def track(command, cancelled):
    with np.load(command["template"]) as template:
        vertices = template["vertices"]
    folder = command["take"]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "command.json"), "w") as file:
        json.dump(command, file)
    os.makedirs(os.path.join(folder, "geometry"), exist_ok=True)
    with open(os.path.join(folder, "take.json"), "w") as file:
        json.dump(
            {"format": 1, "frames": [3, 4, 5, 2, 1], "capture": command["capture"], "cameras": command["cameras"]}, file
        )
    frames = [4, 5, 3, 2, 1]
    if MODE == "refuses":
        return say("error", code="request", sentence="The folder holds another take.", hint="")
    say("stage", name="Tracking", total=len(frames))
    for i, frame in enumerate(frames):
        if MODE == "dies" and i == 2:
            print("MemoryError: out of memory", file=sys.stderr, flush=True)
            os._exit(1)
        if MODE == "slow" and i == 2:
            while not cancelled.wait(0.05):
                pass
        if MODE == "deaf" and i == 2:
            time.sleep(600)
        if cancelled.is_set():
            return say("error", code="cancelled", sentence="Stopped at your request.", hint="")
        write_frame(folder, frame, vertices)
        say("progress", done=i + 1, total=len(frames), eta_s=1.0)
    if MODE == "fails":
        return say("error", code="failed", sentence="The disk is full.", hint="Free some space.")
    return say("done", job="track", summary={})


def serve():
    cancelled = threading.Event()
    if MODE == "other protocol":
        say("hello", protocol=99)
    elif MODE == "no numba":
        raise ModuleNotFoundError("No module named 'numba'")
    else:
        if MODE == "garbage":
            print("Loading plugins...\n[]\nnull\n{broken", "\x00\xff", '{"event": "unheard of"}', sep="\n", flush=True)
        say("hello", protocol=1, engine="fake", python="3.11", device="cpu", environment=dict(os.environ))
    if MODE == "mute":
        time.sleep(600)
    threading.Thread(target=beat, daemon=True).start()
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "cancel":
            cancelled.set()
        else:
            cancelled.clear()
            threading.Thread(target=run, args=(command, cancelled), daemon=True).start()
    os._exit(0)


serve()
