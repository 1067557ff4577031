"""Train the network on data in CIFAR-10's layout; log the loss, draw its curve, save the model.

Writes `outputs/loss.png` and `outputs/model.pt`, which are kept with the run.
"""

import argparse
from pathlib import Path

import torch
import torchvision
from model import Net
from PIL import Image, ImageDraw
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import transforms

from envbuild import Run


class Images(torchvision.datasets.CIFAR10):
    """CIFAR-10, or any other images in its layout: the files' checksums are not compared."""

    train_list = tuple((name, None) for name, _ in torchvision.datasets.CIFAR10.train_list)
    test_list = tuple((name, None) for name, _ in torchvision.datasets.CIFAR10.test_list)

    def __init__(self, *arguments, **options) -> None:
        self.meta = {**torchvision.datasets.CIFAR10.meta, "md5": None}
        super().__init__(*arguments, **options)


def main() -> None:
    arguments = read_arguments()
    torch.manual_seed(arguments.seed)
    run = Run.get_context()
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    images = Images(arguments.data, train=True, transform=prepare)
    batches = DataLoader(images, arguments.batch_size, shuffle=True)

    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=arguments.learning_rate, momentum=0.9)
    losses = train(net, optimizer, batches, arguments.epochs, arguments.log_every, run)
    print("Finished Training")

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    draw_curve(losses, outputs / "loss.png")
    torch.save(net.state_dict(), outputs / "model.pt")


def train(net, optimizer, batches, epochs, log_every, run) -> list[float]:
    """Return the mean loss of each `log_every` batches; print and log it on the way."""
    criterion = nn.CrossEntropyLoss()
    losses, running = [], 0.0
    for epoch in range(1, epochs + 1):
        for number, (inputs, labels) in enumerate(batches, 1):
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
            if number % log_every == 0:
                losses.append(running / log_every)
                run.log("loss", losses[-1])
                print(f"epoch={epoch}, batch={number:5}: loss {losses[-1]:.2f}", flush=True)
                running = 0.0
        running = 0.0
    return losses


def draw_curve(losses, file, width=640, height=400, margin=50) -> None:
    """A plain line plot, drawn with Pillow: the environment has no plotting library."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    top = max([*losses, 0.1]) * 1.05
    step = (width - 2 * margin) / max(len(losses) - 1, 1)
    scale = (height - 2 * margin) / top
    points = [(margin + step * number, height - margin - scale * loss) for number, loss in enumerate(losses)]
    draw.line([(margin, margin), (margin, height - margin), (width - margin, height - margin)], "black")
    for part in range(5):
        y = height - margin - scale * top * part / 4
        draw.text((margin - 35, y - 6), f"{top * part / 4:.2f}", "black")
        draw.line([(margin - 4, y), (margin, y)], "black")
    if len(points) > 1:
        draw.line(points, "steelblue", 3)
    for x, y in points:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), "steelblue")
    draw.text((margin, margin - 25), "training loss", "black")
    image.save(file)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small image classifier.")
    parser.add_argument("--data", default="./data", help="the folder that holds cifar-10-batches-py")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--log-every", type=int, default=250, help="print and log the loss after so many batches")
    parser.add_argument("--learning-rate", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
