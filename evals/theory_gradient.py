"""Closed form of what one small step of a policy gradient does to entropy.

"The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models" (arXiv 2505.22617).
"""

from __future__ import annotations

import numpy as np


def entropy_slope(p: np.ndarray, advantage: np.ndarray, *, natural: bool = False) -> float:
    """dH/d(step size), nats, of a softmax over arms: -Cov(ln p, change of the logits) under p.

    Exact expected policy gradient changes the logit of arm i by p_i (A_i - E A); the natural one by A_i.

    Args:
        p: probability of each arm, all above 0, shape (arms,).
        advantage: of each arm, shape (arms,); a constant added to all changes nothing.
        natural: precondition by the inverse Fisher matrix.
    """
    centred = advantage - p @ advantage
    change = centred if natural else p * centred
    surprise = np.log(p)
    return -float(p @ (surprise * change) - (p @ surprise) * (p @ change))
