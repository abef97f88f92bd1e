"""What a run of matching made, in sentences."""

from __future__ import annotations

from simprod_tf.matching.matcher import MatchCounts


def counts_line(counts: MatchCounts, num_vetoed: int) -> str:
    """Returns how many matches there are, and by what reasons."""
    line = f"{counts.num_similar} matches"
    if counts.num_rows > counts.num_similar:
        line += f" among {counts.num_rows} candidates"
    line += f"; {counts.num_queries} products have one"
    if counts.by_reason:
        by = ", ".join(f"{name} {count}" for name, count in counts.by_reason.items())
        line += f"; reasons: {by}"
    if num_vetoed:
        line += f"; {num_vetoed} more are within the threshold, but vetoed"
    return line


def groups_line(
    num_groups: int, *, num_products: int, num_bridges: int, num_split: int
) -> str:
    """Returns how many groups there are, and how they were cut."""
    return (
        f"{num_groups} groups with {num_products} products; {num_bridges} accepted "
        f"pairs lie between groups; {num_split} groups were above the cap"
    )
