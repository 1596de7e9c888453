"""How sure the report is, and what it does not show."""

from __future__ import annotations

import math

from driftloop.evals.report.headlines import headlines
from driftloop.evals.report.paired import pairs
from driftloop.evals.report.records import Run
from driftloop.evals.report.settings import named
from driftloop.evals.report.trends import by_seed
from driftloop.evals.report.wording import factor, listed, number, several

ONE_SEED = "Each arm was played with one seed: there are no intervals, and any difference may be chance."
HOW = (
    "Thin lines are single seeds. Arms are compared within a seed, because both arms of a seed share their "
    "random numbers.",
    "“Unchanged” means that the whole interval of the change lies within ±0.05 (shares), a factor of 1.25 "
    "(counts) or 5 % of the start (other units).",
    "“Separated” means that the paired interval excludes zero, also after Holm's correction for the number "
    "of pairs.",
)
ALWAYS = (
    "One world, one model size and one budget: another combination can order the arms differently. The "
    "intervals cover seeds, nothing else.",
    "Own-sample quality comes from the world's verifier or its stated proxy, on inputs that the model "
    "meets in the loop; it is no measure of generalisation.",
    "The attribution is bookkeeping: its terms add up exactly, but taking one phase away would change the "
    "others.",
    "Quality, diversity and complexity are never added up: which trade is worth it is your decision.",
    "Diverse is not faithful: a quota can keep many modes alive and still distort how often each occurs.",
    "Nothing here says whether lost diversity can be won back; a fork with recovery arms does.",
)


def sureness(run: Run) -> tuple[str, ...]:
    """How the intervals were made and what they can detect, one sentence each."""
    intervals = "every ± and every band is a 95 % interval of the mean over seeds (Student's t)."
    first = f"Each arm was played with {several(len(run.seeds), 'seed')}; {intervals}"
    return (first if len(run.seeds) > 1 else ONE_SEED, *HOW, *_detectable(run))


def _detectable(run: Run) -> list[str]:
    lines = []
    for headline in headlines(run):
        least = [p.detectable for p in pairs(headline, by_seed(run, headline, run.last))]
        known = [value for value in least if math.isfinite(value)]
        if known:
            size = factor(max(known)) if headline.scale == "ratio" else number(max(known))
            lines.append(
                f"{headline.title}: a true difference below {size} would often be missed (power 80 %)."
            )
    return lines


def limits(run: Run) -> tuple[str, ...]:
    """What a reader must not conclude from this run."""
    open_doors = [arm for arm in run.arms if named(run, arm)["OOD firewall"] == "off"]
    said = list(ALWAYS)
    if open_doors:
        said.insert(
            0,
            f"The OOD firewall was off in {listed(open_doors)}: samples from held-out regions may have "
            "been trained on, so OOD figures there are not held out.",
        )
    if not any(headline.axis == "ood" for headline in headlines(run)):
        said.insert(
            0, "There is no out-of-distribution test: this run is silent on what lies beyond training."
        )
    return tuple(said)
