"""A driver that is killed takes its engine with it: no process keeps the device's memory."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

DRIVER = """
import time
from driftloop.generators.engines import vllm_llama
from driftloop.generators.models.llama import Llama, Shape
if __name__ == "__main__":
    vllm_llama.served(Llama.fresh(Shape(20, 64, 1, 2, 2, 64, context=16), seed=1))
    print("up", flush=True)
    time.sleep(1000)
"""
PATIENCE_S = 120


def test_engines_end_with_a_killed_driver() -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        engines = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
    assert engines
    until = time.monotonic() + PATIENCE_S
    while left := [p for p in engines if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < until, left
        time.sleep(0.5)
