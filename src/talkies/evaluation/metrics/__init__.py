"""One file per metric."""

from __future__ import annotations

from talkies.evaluation.metric import Metric
from talkies.evaluation.metrics.binding import BINDING
from talkies.evaluation.metrics.drift import DRIFT
from talkies.evaluation.metrics.lip_truth import LIP_TRUTH
from talkies.evaluation.metrics.syncnet import SYNC

ALL: tuple[Metric, ...] = (BINDING, LIP_TRUTH, DRIFT, SYNC)
