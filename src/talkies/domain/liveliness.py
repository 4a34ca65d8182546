"""How much people move while they talk: 1 is the mean of those that networks are trained on.

Neither picture nor voice tells it, and what nothing tells is learnt as a mean.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

CALMEST, LIVELIEST = 0.4, 2.0  # what networks are trained on
Liveliness = Annotated[float, Field(ge=CALMEST, le=LIVELIEST)]
