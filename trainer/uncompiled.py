"""Nothing here is compiled, so torch's compiler stays unloaded: that takes two to four seconds of every attempt.

torch loads it to leave an optimizer's own methods out of a compilation (`torch/_compile.py`), and asks an attribute of
the method whether that was done before. We answer. Where another torch does not ask, it loads the compiler as ever; so
do the optimizers of the Adam kind, at their first step.
"""

from __future__ import annotations

from torch.optim import Optimizer

ASKED = "__dynamo_disable"
METHODS = ("add_param_group", "state_dict", "load_state_dict")


def leave_out_the_compiler() -> None:
    for name in METHODS:
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, ASKED):
            setattr(method, ASKED, method)
