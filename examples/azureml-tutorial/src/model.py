"""The network: two convolutions and three fully connected layers, for images of 32 x 32 pixels in ten classes."""

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Takes a batch of shape (n, 3, 32, 32); gives one score per class, of shape (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.pool(functional.relu(self.conv1(images)))
        features = self.pool(functional.relu(self.conv2(features)))
        features = torch.flatten(features, 1)
        features = functional.relu(self.fc1(features))
        features = functional.relu(self.fc2(features))
        return self.fc3(features)
