"""How collapsed features are, in every definition the literature uses. The map of this folder:

    measure      features, labels -> report: the two passes, then the formulas
    report       CollapseReport, the record of all fields; table prints it, notes explains it
    conventions  in what the papers differ; the presets

    samples      what the user gives -> clean blocks      arrays   numpy, torch and jax behind one door
    moments      counts, means, second moments, merged     passes   the two walks over the blocks
    means        class means about their centre, their singular system

    within       NC1 from sums over samples                pairs    distances: CDNV, angles, GNC2
    geometry     NC2: lengths, angles, Grams               duality  NC3
    decision     NC4: logits, margins, bias                floors   what is attainable when K > d+1
    rates        exponents of log t

Imports point from the top to the bottom; ``measure`` is all that most users need.
"""

from layerpeel.collapse.conventions import PRESETS, Convention, convention_rows, preset
from layerpeel.collapse.measure import measure
from layerpeel.collapse.moments import ClassMoments, MomentStream
from layerpeel.collapse.rates import Exponent, Rates, rates
from layerpeel.collapse.report import METRICS, CollapseReport

__all__ = [
    "METRICS",
    "PRESETS",
    "ClassMoments",
    "CollapseReport",
    "Convention",
    "Exponent",
    "MomentStream",
    "Rates",
    "convention_rows",
    "measure",
    "preset",
    "rates",
]
