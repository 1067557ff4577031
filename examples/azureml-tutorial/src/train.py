"""Train the network of model.py on CIFAR-10, and log the loss to the run; without --data_path, download the data."""

import argparse

import torch
import torchvision
from azureml.core import Run
from model import Net
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("--data_path", help="the folder that holds cifar-10-batches-py")
parser.add_argument("--learning_rate", type=float, default=0.001)
parser.add_argument("--momentum", type=float, default=0.9)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--log_every", type=int, default=250)


class Images(torchvision.datasets.CIFAR10):
    """Images in CIFAR-10's layout, whose checksums are not compared: the folder may hold others."""

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        self.classes = []


def main() -> None:
    arguments = parser.parse_args()
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])
    if arguments.data_path:
        images = Images(arguments.data_path, train=True, transform=prepare)
    else:
        images = torchvision.datasets.CIFAR10("./data", train=True, download=True, transform=prepare)
    batches = torch.utils.data.DataLoader(images, batch_size=4, shuffle=True)
    run = Run.get_context()
    net = Net()
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=arguments.learning_rate, momentum=arguments.momentum)
    for epoch in range(1, arguments.epochs + 1):
        running = 0.0
        for number, (inputs, labels) in enumerate(batches, 1):
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
            if number % arguments.log_every == 0:
                running /= arguments.log_every
                run.log("loss", running)
                print(f"epoch={epoch}, batch={number:5}: loss {running:.2f}")
                running = 0.0
    print("Finished Training")


if __name__ == "__main__":
    main()
