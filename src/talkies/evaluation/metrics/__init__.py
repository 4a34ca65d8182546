"""One file per metric."""

from __future__ import annotations

from talkies.evaluation.metric import Metric
from talkies.evaluation.metrics.binding import BINDING
from talkies.evaluation.metrics.blinks import BLINKS
from talkies.evaluation.metrics.cost import COST
from talkies.evaluation.metrics.drift import DRIFT
from talkies.evaluation.metrics.efid import EFID, EFID_UNITS
from talkies.evaluation.metrics.fid import FID
from talkies.evaluation.metrics.fvd import FVD
from talkies.evaluation.metrics.identity import IDENTITY
from talkies.evaluation.metrics.lip_truth import LIP_TRUTH
from talkies.evaluation.metrics.prompt import PROMPT, PROMPT_ARMS
from talkies.evaluation.metrics.stage_sync import STAGE_SYNC
from talkies.evaluation.metrics.swap import SWAP
from talkies.evaluation.metrics.syncnet import SYNC
from talkies.evaluation.set_metric import SetMetric

ALL: tuple[Metric, ...] = (
    BINDING, SWAP, LIP_TRUTH, STAGE_SYNC, SYNC, PROMPT, PROMPT_ARMS, IDENTITY, BLINKS, DRIFT, COST,
)  # fmt: skip
ALL_OF_SETS: tuple[SetMetric, ...] = (FID, FVD, EFID, EFID_UNITS)
