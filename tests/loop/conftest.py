"""A loop small enough to be played many times: a model of a few hundred parameters on targets below 12."""

from pathlib import Path

import pytest
import torch

from driftloop.loop.compose import load
from driftloop.loop.settings import Config

torch.set_num_threads(1)

TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture
def tiny() -> Config:
    """Two arms, two seeds, two generations, in this process."""
    return load([TINY])
