# Records what transformers' sequence classifiers say over the small LLaMA, with a head that is a
# formula, and scikit-learn's and SciPy's coefficients of made-up labels. Writes reference.json
# beside itself.
#
#   python tests/data/labels/make-reference.py          (torch, transformers, scikit-learn, scipy)
import json
import os
import random
import warnings

import numpy
import scipy
import sklearn
import torch
import transformers
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "..", "nano", "llama")

SEQUENCES = [[31, 199, 50, 37, 45], [41, 47, 26, 199, 39, 374, 262, 271, 82], [7, 8]]


def head(classes, width):
    """score.weight [classes, width]"""
    n = torch.arange(classes * width, dtype=torch.float64)
    return (0.3 * torch.sin(1.7 * n)).float().reshape(classes, width)


def classifier(labels):
    """Scores of each sequence alone; the mean loss and the head's gradient of all of them."""
    classes = 1 if isinstance(labels[0], float) else 3
    model = transformers.LlamaForSequenceClassification.from_pretrained(
        folder, num_labels=classes, dtype=torch.float32)
    model.score.weight.data = head(classes, model.config.hidden_size)
    model.requires_grad_(False)
    model.score.weight.requires_grad_(True)
    scores, loss = [], 0.0
    for ids, label in zip(SEQUENCES, labels):
        out = model(input_ids=torch.tensor([ids]), labels=torch.tensor([label]))
        scores.append(out.logits[0].tolist())
        loss = loss + out.loss / len(SEQUENCES)
    loss.backward()
    return {"labels": labels, "scores": scores, "loss": loss.item(),
            "gradient": model.score.weight.grad.flatten().tolist()}


def of_classes(truth, guess, classes):
    return {"truth": truth, "guess": guess, "classes": classes,
            "accuracy": accuracy_score(truth, guess),
            "f1": f1_score(truth, guess, zero_division=0.0) if classes == 2 else None,
            "matthews": matthews_corrcoef(truth, guess)}


def of_values(truth, guess):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = pearsonr(numpy.array(truth, dtype=numpy.float64), guess).statistic
    return {"truth": truth, "guess": guess, "pearson": None if numpy.isnan(value) else value}


def main():
    draw = random.Random(7)
    classes = [of_classes([draw.randrange(n) for _ in range(60)],
                          [draw.randrange(n) for _ in range(60)], n) for n in (2, 3, 5)]
    classes += [of_classes([0, 1, 1, 0], [0, 1, 1, 0], 2), of_classes([0, 1, 1, 0], [1, 0, 0, 1], 2),
                of_classes([0, 1, 1, 0], [1, 1, 1, 1], 2), of_classes([1, 1, 1], [0, 1, 0], 2),
                of_classes([1, 1, 1], [1, 1, 1], 2), of_classes([2], [2], 3),
                of_classes([0, 0, 0], [0, 0, 0], 2), of_classes([0, 0, 1], [1, 0, 0], 2)]
    values = [of_values([draw.uniform(0, 5) for _ in range(50)],
                        [draw.uniform(0, 5) for _ in range(50)]),
              of_values([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]), of_values([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]),
              of_values([1.0, 2.0, 3.0], [1.5, 1.5, 1.5]), of_values([4.0, 4.0], [1.0, 2.0])]
    record = {"made with": {"torch": torch.__version__, "transformers": transformers.__version__,
                            "scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
              "sequences": SEQUENCES, "classifiers": [classifier([2, 0, 1]),
                                                      classifier([0.5, -1.25, 3.0])],
              "classes": classes, "values": values}
    with open(os.path.join(here, "reference.json"), "w", encoding="utf-8") as f:
        json.dump(record, f, indent=1)
        f.write("\n")


main()
