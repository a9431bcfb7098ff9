"""Limits for every controller, in one place: what it proposes outside of them is drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from nasforge.controllers.base import Controller, ControllerReport
from nasforge.errors import RunFailedError
from nasforge.space.architecture import Architecture
from nasforge.space.rule import TRIES, Refusals

MOST_AT_ONCE = 256
"""Proposals that are asked for at a time, at most, when many are refused."""


def within_limits(controller: Controller) -> Controller:
    """A controller that proposes as `controller` does, given that the proposals are within the limits of its space.

    Without limits it is `controller` itself.
    """
    return controller if controller.space.rule is None else LimitedController(controller)


@final
class LimitedController(Controller):
    """Rejection around another controller, which learns from admitted proposals only.

    It first asks for as many as are missing, then for twice as many each time; what is beyond the number that it was
    asked for is thrown away, so that every proposal is of the current policy.

    Attributes:
        inner: the controller that proposes and learns.
    """

    def __init__(self, inner: Controller) -> None:
        super().__init__(inner.space, inner.config, seed=inner.seed, device=inner.device)
        self.inner = inner

    @property
    def remembers(self) -> bool:
        """That of the inner controller."""
        return self.inner.remembers

    def propose(self, count: int) -> list[Architecture]:
        """Draw until `count` are within the limits.

        Raises:
            RunFailedError: none of 10,000 proposals in a row was.
        """
        admitted: list[Architecture] = []
        refusals, at_once = Refusals(), count
        while len(admitted) < count:
            for architecture in self.inner.propose(at_once):
                violations = self.space.violations(architecture)
                if not violations:
                    admitted.append(architecture)
                    refusals = Refusals()
                    continue
                refusals.add(violations)
                if refusals.tried == TRIES:
                    raise RunFailedError(
                        f"{refusals.error('proposals of the controller in a row')}; or let the controller move more "
                        "slowly, so that it keeps proposing other architectures"
                    )
            at_once = min(2 * at_once, MOST_AT_ONCE)
        return admitted[:count]

    def most_likely(self, count: int) -> list[Architecture]:
        """The most probable within the limits, found among up to 16 times as many; none where all of these are outside.

        Raises:
            NotImplementedError: the inner controller cannot say.
        """
        asked, admitted = count, []
        for _ in range(5):
            likely = self.inner.most_likely(asked)
            admitted = [each for each in likely if not self.space.violations(each)]
            if len(admitted) >= count or len(likely) < asked:
                break
            asked *= 2
        return admitted[:count]

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """See `Controller`; it is told what it is given."""
        return self.inner.update(proposals, rewards)

    def state(self) -> Mapping[str, Any]:
        """That of the inner controller: there is none beside it."""
        return self.inner.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state(state)
