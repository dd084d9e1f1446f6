"""The table as JSON and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.intervals import Interval
from .figures import Figure, Place, Verdict

COLUMNS = (
    *('model', 'data', 'measure', 'value', 'low', 'high', 'seed_low', 'seed_high'),
    *('seeds', 'images'),
)


def rows_of(table: Mapping[str, Mapping[Place, Figure]]) -> list[dict[str, Any]]:
    """Return a row for each figure: percent, its ends over images and seeds, counts."""
    rows = []
    for model, figures in table.items():
        for (data, measure), figure in figures.items():
            seeds = figure.over_seeds
            values = (
                *(model, data, measure, round(figure.value, 3)),
                *(round(end, 3) for end in figure.over_images),
                *((round(end, 3) for end in seeds) if seeds else ('', '')),
                *(len(figure.seeds), figure.images),
            )
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def csv_of(table: Mapping[str, Mapping[Place, Figure]]) -> str:
    """Return the rows as CSV."""
    file = io.StringIO()
    lines = csv.DictWriter(file, COLUMNS, lineterminator='\n')
    lines.writeheader()
    lines.writerows(rows_of(table))
    return file.getvalue()


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(end, 3) for end in interval]


def json_of(
    table: Mapping[str, Mapping[Place, Figure]],
    verdicts: Sequence[Verdict],
    costs: Mapping[str, dict[str, Any]],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Return all figures, differences and costs as plain data."""
    figures = [
        dict(
            model=model,
            data=data,
            measure=measure,
            value=round(figure.value, 3),
            over_images=_ends(figure.over_images),
            over_seeds=_ends(figure.over_seeds),
            seeds=[round(value, 3) for value in figure.seeds],
            images=figure.images,
        )
        for model, of_model in table.items()
        for (data, measure), figure in of_model.items()
    ]
    said = [
        dict(
            first=verdict.first,
            second=verdict.second,
            measure=verdict.measure,
            sentence=verdict.sentence,
            differences=[
                dict(
                    data=d.place[0],
                    points=round(d.value, 3),
                    over_images=_ends(d.over_images),
                    over_seeds=_ends(d.over_seeds),
                    shown=d.shown,
                )
                for d in verdict.differences
            ],
        )
        for verdict in verdicts
    ]
    return dict(facts, figures=figures, verdicts=said, costs=dict(costs))
