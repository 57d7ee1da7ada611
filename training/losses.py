"""What a step's answers are worth. Shapes: T bins, B clips or streams, K classes."""

from torch import Tensor
from torch.nn import functional

from training.recipes import Recipe

# A bin with this label asks for nothing: torch's own mark.
NO_LABEL = -100


def loss_of(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Scalar loss of logits (T, B, K) against labels (B,), shares of classes (B, K) in floats, or a label a bin (T, B)."""
    if recipe.loss == "mean":
        return functional.cross_entropy(logits.mean(dim=0), labels, label_smoothing=recipe.smoothing)
    if _are_per_bin(labels):
        wanted = labels
        count = (labels != NO_LABEL).sum().clamp(min=1)  # a step of changes alone has nothing to learn from, and no NaN
    else:
        wanted = labels.unsqueeze(0).expand(logits.shape[0], *labels.shape)
        count = wanted.new_tensor(logits.shape[0] * logits.shape[1])
    total = functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(0, 1), label_smoothing=recipe.smoothing, reduction="sum", ignore_index=NO_LABEL
    )
    if recipe.tet_lambda == 0.0:
        return total / count
    distance = (logits - recipe.tet_mean).square().mean()
    return (1.0 - recipe.tet_lambda) * total / count + recipe.tet_lambda * distance


def accuracy_of(logits: Tensor, labels: Tensor) -> float:
    """Share of clips answered rightly by the mean logits, or of the bins that ask where labels are (T, B)."""
    if _are_per_bin(labels):
        asks = labels != NO_LABEL
        return float((logits.argmax(dim=2) == labels)[asks].float().mean()) if bool(asks.any()) else 0.0
    wanted = labels.argmax(dim=1) if labels.is_floating_point() else labels
    return float((logits.mean(dim=0).argmax(dim=1) == wanted).float().mean())


def _are_per_bin(labels: Tensor) -> bool:
    return labels.ndim == 2 and not labels.is_floating_point()
