"""How much people move while they talk: 1 on average, half as much or twice as much at 0.5 and 2.

Neither picture nor voice tells it, and what nobody tells is learnt as a mean: calm people sway, and lively ones keep
still.
"""

CALMEST, LIVELIEST = 0.4, 2.0  # what networks are trained on
