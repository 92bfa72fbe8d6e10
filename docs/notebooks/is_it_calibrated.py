# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Is it calibrated, and for whom is it not?
#
# Decisions are priced with the risk itself, so a risk of 20 % must come true in one of five cases: on the whole, in
# each tenth, for each hardware model and age, and in each band whose precision has been earned.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image

from data.snapshots import read
from models import plots
from models.kept import kept
from models.later import asked, last_day, later
from models.measure import Settings, observed_over_predicted, tenths
from models.slices import Scored, cut
from pipelines.settings import load
from pipelines.steps.evaluate import predictors

COMPONENT = "disk"
LEAST_FAILING = 5

settings = load()
model = next(iter(predictors(settings, COMPONENT).values()))
with read(settings.home) as con:
    one = later(con, model, last_day(con, COMPONENT))
    rows = asked(con, one)
rows = rows.part(~np.isnan(rows.risk))
ratio = observed_over_predicted(rows.outcomes, rows.risk, Settings())
print(f"version {one.predictor.version}, judged from {one.first} to {one.last}: {rows.risk.size:,} rows")
print(f"observed over predicted failures {ratio.value:.2f} (95 % {ratio.low:.2f} to {ratio.high:.2f})")

# %%
with tempfile.TemporaryDirectory() as folder:
    picture = Path(folder) / "calibration.png"
    plots.calibration(tenths(rows.outcomes, rows.risk, Settings()), picture)
    shown = Image(picture.read_bytes())
shown

# %% [markdown]
# Parts of the fleet: one whose interval lies wholly on one side of 1 has risks that are too low (above 1) or too high.
# The intervals hold for all parts of a kind together.

# %%
parts = cut(Scored(rows.outcomes, rows.members, rows.risk, rows.rule, rows.risk), LEAST_FAILING, Settings())
table = pd.DataFrame(
    [{"part": f"{p.kind} {p.name}", "failing": p.failing_entities, **vars(p.observed_over_predicted)} for p in parts],
    columns=["part", "failing", "value", "low", "high"],
)
table.round(2)

# %%
figure, axes = plt.subplots(figsize=(8, 1 + 0.4 * len(table)), layout="constrained")
around = np.clip([table["value"] - table["low"], table["high"] - table["value"]], 0, None)
axes.errorbar(table["value"], table["part"], xerr=around, fmt="o")
axes.axvline(1, color="grey", linestyle="--")
axes.set(xlabel="observed over predicted failures", xlim=(0, None))
axes.invert_yaxis()
plt.show()

# %% [markdown]
# What calls had earned in training, and what came of later ones: of so many calls, the 95 % prediction interval holds
# the number that came true in 95 of 100 bands if nothing has changed.

# %%
pd.DataFrame([{**vars(band), "held": band.held} for band in kept(one.predictor.earned, rows.outcomes, rows.risk)])
