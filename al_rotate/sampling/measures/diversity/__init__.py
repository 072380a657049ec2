"""Pick rows that differ from each other: pure functions on feature vectors, for pools of hundreds of thousands.

All take ``features`` (n, d), one row per image, compared by Euclidean distance, and return the indices of rows in the
order in which they are picked; ties go to the lower index. Scale the rows to unit length first if only their directions
count. Besides the features, memory is O(n) unless stated otherwise. Every function raises ValueError for another shape,
for a value that is not finite (naming the row), and for less than one row to pick.
"""

from .farthest import k_center
from .medoids import k_medoids
from .point_process import determinantal
from .seeding import k_means_plus_plus
from .typical import most_typical, typicality

__all__ = ["determinantal", "k_center", "k_means_plus_plus", "k_medoids", "most_typical", "typicality"]
