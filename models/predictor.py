"""What a trained model is when it is used: the booster's text, its calibration, and nothing that needs pickle."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.errors import ModelError
from features.wording import evidence, summary
from models import spec as specs
from models.calibrate import Calibration
from models.earned import Earned
from models.examples import Bools, Floats, Matrix, doubles, matrix
from models.spec import Spec

if TYPE_CHECKING:
    from lightgbm import Booster

UNKNOWN: Final = "unknown"
OK: Final = "ok"
FORMAT: Final = 3
_SPLITS: Final = re.compile(r"^split_feature=(.*)$", re.MULTILINE)
"""The features that a tree of a booster's text splits on, by position: those without gain, too."""


@dataclass(frozen=True)
class Factor:
    """One reason for a risk: a feature that speaks for a piece of evidence, its value, and what that evidence adds.

    `contribution` is in log-odds of the booster's score.
    """

    feature: str
    value: float | None
    contribution: float


@dataclass(frozen=True)
class Predictor:
    """A model ready to judge entities. `until` is the last day whose labels it may have seen (ISO)."""

    component: str
    version: str
    until: str
    spec: Spec
    feature_names: tuple[str, ...]
    booster_text: str
    calibration: Calibration
    earned: tuple[Earned, ...] = ()

    @cached_property
    def booster(self) -> "Booster":
        """The LightGBM booster that the text describes."""
        import lightgbm

        return lightgbm.Booster(model_str=self.booster_text)

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """The features that are needed to judge and to say why, in order: no tree splits on the others.

        The first of all is among them. It is told of whatever is watched, so a part of which the model's own features
        say nothing, such as one that never had an error, is judged all the same.
        """
        splits = {int(position) for tree in _SPLITS.findall(self.booster_text) for position in tree.split()}
        used = {name for position, name in enumerate(self.feature_names) if position in splits}
        needed = {*self.feature_names[:1], *used, *(summary(evidence(name)) for name in used)}
        return tuple(name for name in self.feature_names if name in needed)

    def predict(self, table: pa.Table) -> Floats:
        """Return risks of shape (rows, 5), horizons ascending, never decreasing; NaN on rows that cannot be judged.

        Args:
            table: the features that are `asked`, and `status` where the spine knows that a row cannot be judged.

        Raises:
            ModelError: the table lacks a feature.
        """
        values = matrix(table, self.feature_names, self.asked)
        risks = np.full((table.num_rows, len(self.calibration.maps)), np.nan)
        judged = judgeable(table, values)
        if judged.any():
            risks[judged] = self.calibration.risks(self.scores(values[judged]))
        return risks

    def scores(self, values: Matrix) -> Floats:
        """Return the booster's own score for a matrix of features: failure within `rank_horizon_days`, uncalibrated."""
        return np.asarray(self.booster.predict(values, num_threads=self.spec.threads), dtype=np.float64)

    def reasons(self, table: pa.Table, top: int = 3) -> list[tuple[Factor, ...]]:
        """Return per row the evidence that raises its score most (SHAP values in log-odds), most telling first.

        Features that say the same thing in other words are one piece of evidence (`features.wording.evidence`): what
        they add is added up. The one that adds most speaks for all, unless the piece has a feature that sums it up
        (`features.wording.summary`) and that one is not zero.
        """
        if not table.num_rows:
            return []
        values = matrix(table, self.feature_names, self.asked)
        raw = self.booster.predict(values, pred_contrib=True, num_threads=self.spec.threads)
        contributions = np.asarray(raw, dtype=np.float64)[:, : len(self.feature_names)]
        pieces = {i: evidence(name) for i, name in enumerate(self.feature_names) if name in self.asked}
        members = [[i for i, piece in pieces.items() if piece == each] for each in dict.fromkeys(pieces.values())]
        added = np.stack([contributions[:, each].sum(axis=1) for each in members], axis=1)
        speaker = np.stack([self._speaker(each, contributions, values) for each in members], axis=1)
        best = np.argsort(-added, axis=1, kind="stable")[:, :top]
        columns = {name: doubles(table, name) for name in {self.feature_names[i] for i in speaker.ravel()}}
        return [
            tuple(
                self._factor(columns, row, int(speaker[row, piece]), float(added[row, piece]))
                for piece in picked
                if added[row, piece] > 0
            )
            for row, picked in enumerate(best)
        ]

    def _speaker(self, members: list[int], contributions: Floats, values: Matrix) -> npt.NDArray[np.int64]:
        """Which of the features of one piece of evidence speaks for it, as its position; shape (rows,)."""
        most: npt.NDArray[np.int64] = np.asarray(members, dtype=np.int64)[contributions[:, members].argmax(axis=1)]
        summing = [i for i in members if self.feature_names[i] == summary(evidence(self.feature_names[i]))]
        if not summing:
            return most
        says = np.nan_to_num(values[:, summing[0]]) != 0
        most[says] = summing[0]
        return most

    def _factor(self, columns: dict[str, Floats], row: int, position: int, contribution: float) -> Factor:
        name = self.feature_names[position]
        value = float(columns[name][row])
        return Factor(name, value if np.isfinite(value) else None, round(contribution, 4))

    def to_json(self) -> str:
        """Return everything but the booster as JSON that `from_json` reads back exactly."""
        return json.dumps(
            {
                "format": FORMAT,
                "component": self.component,
                "until": self.until,
                "feature_names": list(self.feature_names),
                "spec": specs.as_mapping(self.spec),
                "calibration": self.calibration.as_mapping(),
                "earned": [vars(one) for one in self.earned],
            },
            indent=1,
        )


def from_json(text: str, booster_text: str, version: str) -> Predictor:
    """Return the predictor that `Predictor.to_json` and a booster's text describe.

    Raises:
        ModelError: written by another format of this program, or damaged.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"model {version}: its JSON is damaged ({error}); roll back or train again"
        raise ModelError(msg) from error
    if raw.get("format") != FORMAT:
        msg = f"model {version}: format {raw.get('format')!r}, this program reads {FORMAT}; train again"
        raise ModelError(msg)
    return Predictor(
        component=raw["component"],
        version=version,
        until=raw["until"],
        spec=specs.parse(raw["spec"], f"model {version}"),
        feature_names=tuple(raw["feature_names"]),
        booster_text=booster_text,
        calibration=Calibration.from_mapping(raw["calibration"]),
        earned=tuple(Earned(**one) for one in raw["earned"]),
    )


def judgeable(table: pa.Table, values: Matrix) -> Bools:
    """Return which rows can be judged: the spine does not call them unknown, and at least one feature has a value."""
    some = ~np.isnan(values).all(axis=1)
    if "status" not in table.column_names:
        return np.asarray(some)
    status: npt.NDArray[np.object_] = np.asarray(table.column("status").to_pylist(), dtype=object)
    return np.asarray(some & (status != UNKNOWN))


def unjudged(table: pa.Table, risks: Floats) -> list[str | None]:
    """Return per row why it cannot be judged, or null where it can.

    The spine's own reason (`too_little_history`, `stale_telemetry`) goes first; a row without any value is
    `no_readings`. A row that cannot be judged is unknown, never a low risk.

    Args:
        table: what was to be judged.
        risks: what `Predictor.predict` says of it.
    """
    given = table.column("reason").to_pylist() if "reason" in table.column_names else [None] * table.num_rows
    missing = np.asarray(np.isnan(risks).any(axis=1)).tolist()
    return [(why or "no_readings") if unknown else None for unknown, why in zip(missing, given, strict=True)]
