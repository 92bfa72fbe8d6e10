"""The model as MLflow serves it: one table of features in, five risks out.

MLflow stores this file with the model and runs it where the model is loaded, so it needs nothing of this project:
LightGBM's own text, and the calibration as JSON. No pickle anywhere.
"""

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class RiskModel(PythonModel):
    """Calibrated risks of failure within 1, 3, 7, 14 and 30 days."""

    def load_context(self, context: Any) -> None:
        """Read the booster and its calibration from the model's artifacts."""
        self.booster = lightgbm.Booster(model_file=context.artifacts["booster"])
        self.about = json.loads(Path(context.artifacts["predictor"]).read_text(encoding="utf-8"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return risk_1d ... risk_30d per row, never decreasing; NaN (unknown) on rows without any value."""
        del context, params
        values = model_input[self.about["feature_names"]].to_numpy(dtype=np.float32)
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
        score = np.clip(np.asarray(self.booster.predict(values)), 1e-7, 1 - 1e-7)
        maps = self.about["calibration"]["maps"]
        logits = [one["c"] + one["a"] * np.log(score) - one["b"] * np.log1p(-score) for one in maps]
        risks = np.maximum.accumulate(1 / (1 + np.exp(-np.stack(logits, axis=1))), axis=1)
        risks[np.isnan(values).all(axis=1)] = np.nan
        names = [f"risk_{one['horizon_days']}d" for one in maps]
        return pd.DataFrame(risks, columns=names, index=model_input.index)


set_model(RiskModel())
