"""The decoder's loss in chunks is that of the whole, in value and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nasforge.tasks import decoder
from nasforge.tasks.decoder import decoder_nll, linear_cross_entropy

Inputs = tuple[Tensor, Tensor, Tensor | None, Tensor]


def inputs(tokens: int, *, bias: bool = True, dtype: torch.dtype = torch.float64) -> Inputs:
    generator = torch.Generator().manual_seed(tokens)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    x, weight = drawn(tokens, 3), drawn(7, 3)
    return x, weight, drawn(7) if bias else None, torch.randint(7, (tokens,), generator=generator)


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x, weight, bias), targets)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tokens", [1, 4, 5, 11])
def test_value_and_gradients_are_those_of_the_plain_loss(
    monkeypatch: pytest.MonkeyPatch, tokens: int, bias: bool
) -> None:
    monkeypatch.setattr(decoder, "CHUNK_ROWS", 4)
    given = inputs(tokens, bias=bias)
    wanted = [each for each in given[:3] if each is not None]
    # A factor behind the loss, as the mean over several architectures has it.
    found = torch.autograd.grad(0.3 * linear_cross_entropy(*given), wanted)
    expected = torch.autograd.grad(0.3 * plain(*given), wanted)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(linear_cross_entropy(*given), plain(*given), rtol=1e-13, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*given), plain(*given), rtol=1e-13, atol=0)
    assert decoder_nll(*given) == pytest.approx(float(plain(*given).detach()) * tokens, rel=1e-13)


def test_only_what_needs_a_gradient_gets_one() -> None:
    x, weight, bias, targets = inputs(5)
    assert bias is not None
    linear_cross_entropy(x.detach(), weight, bias.detach(), targets).backward()
    assert weight.grad is not None
    assert x.grad is None and bias.grad is None
    loss = linear_cross_entropy(x.detach(), weight.detach(), None, targets)
    assert not loss.requires_grad


def test_it_goes_backward_once_and_says_so() -> None:
    given = inputs(5)
    loss = linear_cross_entropy(*given)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="goes backward once"):
        loss.backward()
    with pytest.raises(RuntimeError, match="gradients of gradients"):
        torch.autograd.grad(linear_cross_entropy(*given), given[0], create_graph=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_hidden(value: float) -> None:
    x, weight, bias, targets = inputs(5)
    with torch.no_grad():
        x[3, 1] = value
    loss = linear_cross_entropy(x, weight, bias, targets)
    loss.backward()
    assert loss.isnan()
    assert weight.grad is not None and weight.grad.isnan().any()
    assert x.grad is not None and not x.grad[:3].isnan().any()


def test_large_logits_are_exact_and_not_capped() -> None:
    x = torch.tensor([[1e4]])
    weight = torch.tensor([[1.0], [-1.0]])
    assert decoder_nll(x, weight, None, torch.tensor([1])) == 2e4
    assert float(linear_cross_entropy(x, weight, None, torch.tensor([1]))) == 2e4


def test_padding_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "CHUNK_ROWS", 4)
    x, weight, bias, targets = inputs(11)
    padded = targets.clone()
    padded[[0, 5, 10]] = -1
    kept = padded >= 0
    expected = float(plain(x[kept], weight, bias, targets[kept]).detach()) * 8
    with torch.no_grad():
        x[5] = float("nan")
    assert decoder_nll(x, weight, bias, padded) == pytest.approx(expected, rel=1e-13)


def test_the_logits_of_all_tokens_are_never_there(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            found = func(*args, **(kwargs or {}))
            if isinstance(found, Tensor):
                largest = max(largest, found.untyped_storage().nbytes() // found.element_size())
            return found

    x = torch.randn(2048, 3, requires_grad=True)
    weight = torch.randn(50, 3, requires_grad=True)
    with Watch():
        linear_cross_entropy(x, weight, None, torch.zeros(2048, dtype=torch.int64)).backward()
    assert 256 * 50 <= largest < 2048 * 50
