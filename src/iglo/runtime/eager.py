"""torch's optimizers without its compiler, whose import takes more than a second. iglo does not compile."""

from inspect import unwrap

import torch
from torch.optim import Optimizer


class EagerOptimizer(Optimizer):
    """Base of optimizers that do not load the compiler.

    torch wraps these methods, and `step`, to keep the compiler out of them. The wrappers load it at their first call.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class Adam(EagerOptimizer, torch.optim.Adam):
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class SGD(EagerOptimizer, torch.optim.SGD):
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
