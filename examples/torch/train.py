"""A PyTorch job that may be preempted: a small convolutional network learns digits.

It saves after every SAVE_EVERY steps and when it is told to end (SIGTERM), tells that
the checkpoint is complete, and goes on where it left: weights, optimiser, position and
random numbers. Interrupted or not, it ends with the same weights.
"""

import gzip
import http.client
import os
import signal
import socket
import sys
import time

import torch
from torch import nn

EPOCHS = int(os.environ.get("EPOCHS", "6"))
SAVE_EVERY = int(os.environ.get("SAVE_EVERY", "10"))
PAUSE = float(os.environ.get("PAUSE", "0"))  # seconds after each step, to have something to see
FOLDER = os.environ.get("SLUICE_CHECKPOINT_DIR", ".")
CHECKPOINT = os.path.join(FOLDER, "state.pt")
BATCH = 64

stop = False


def ask_to_stop(*_):
    global stop
    stop = True


def tell(what, body=None):
    """Tells Sluice over the job's local socket; a job that does not is judged by its files."""
    path = os.environ.get("SLUICE_CONTROL")
    if not path:
        return
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(path)
            c = http.client.HTTPConnection("sluice")
            c.sock = s
            c.request("POST", "/" + what, body)
            c.getresponse().read()
    except OSError as e:
        print(f"could not tell {what}: {e}", flush=True)


def load_digits(path):
    with gzip.open(path, "rt") as f:
        rows = [[float(x) for x in line.split(",")] for line in f if line[0].isdigit()]
    data = torch.tensor(rows)
    return data[:, :64].reshape(-1, 1, 8, 8) / 16, data[:, 64].long()


def save(model, optimiser, step):
    tmp = CHECKPOINT + ".tmp"
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "rng": torch.get_rng_state()}, tmp)
    os.replace(tmp, CHECKPOINT)
    tell("checkpoint")
    tell("progress", str(step))
    print(f"saved step {step}", flush=True)


def main():
    signal.signal(signal.SIGTERM, ask_to_stop)
    torch.manual_seed(7)
    torch.set_num_threads(1)  # sums in one order, so that two runs agree to the bit
    torch.use_deterministic_algorithms(True)
    images, labels = load_digits(os.environ.get("DIGITS", "digits.csv.gz"))
    train = 1437
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(16 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_of = nn.CrossEntropyLoss()
    steps_per_epoch = (train + BATCH - 1) // BATCH
    step = 0
    if os.path.exists(CHECKPOINT):
        state = torch.load(CHECKPOINT)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        step = state["step"]
    print(f"begins at step {step}", flush=True)
    tell("ready")
    while step < EPOCHS * steps_per_epoch:
        epoch, at = divmod(step, steps_per_epoch)
        order = torch.randperm(train, generator=torch.Generator().manual_seed(epoch))
        pick = order[at * BATCH:(at + 1) * BATCH]
        optimiser.zero_grad()
        loss = loss_of(model(images[pick]), labels[pick])
        loss.backward()
        optimiser.step()
        step += 1
        print(f"step {step} loss {loss.item():.4f}", flush=True)
        if stop:
            save(model, optimiser, step)
            sys.exit(143)
        if step % SAVE_EVERY == 0:
            save(model, optimiser, step)
        if PAUSE:
            time.sleep(PAUSE)
    model.eval()
    with torch.no_grad():
        right = (model(images[train:]).argmax(1) == labels[train:]).float().mean().item()
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    with open("weights.txt", "w") as f:
        f.write("\n".join(f"{w:.9g}" for w in weights.tolist()) + "\n")
    print(f"done: {right:.1%} of {len(labels) - train} held back are right", flush=True)


if __name__ == "__main__":
    main()
