"""The second stage on candidate pairs: are these two the same product?

products     what a decider is given of the products
evidence     strings and numbers of a pair; embedding_evidence what an encoder says
lexical      products with like words: candidates, and how alike
graph        the candidate pairs of all products; context: a pair among its rivals
features     all of these side by side
boosting     LightGBM
folds        which model scores a pair; implied: labels that follow from others
learning     labelled pairs -> the two stages
decider      Decider: fit, bind, save, load; bound: scores and explains pairs
saved        the folder; trained_pairs: which pairs were learned from
"""

from simprod_tf.decider.bound import BoundDecider, Contribution
from simprod_tf.decider.decider import Decider
from simprod_tf.decider.learning import DeciderSettings
from simprod_tf.decider.products import DeciderProducts

__all__ = [
    "BoundDecider",
    "Contribution",
    "Decider",
    "DeciderProducts",
    "DeciderSettings",
]
