# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Which features carry the predictor, and do they hold up by quarter?
#
# Gain says what the booster leaned on while it learned. What counts is later days: how much average precision is lost
# when all features about one piece of evidence are shuffled among the drives of a day. A piece that carries in one
# quarter and not in the next is one to watch.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from data.snapshots import read
from models.later import asked, last_day, later
from models.reliance import lost_without, pieces
from pipelines.settings import load
from pipelines.steps.evaluate import predictors

COMPONENT = "disk"
SHOWN = 6

settings = load()
model = next(iter(predictors(settings, COMPONENT).values()))
with read(settings.home) as con:
    one = later(con, model, last_day(con, COMPONENT), most_days=366)
    rows = asked(con, one)
print(f"version {one.predictor.version}, judged from {one.first} to {one.last}: {rows.risk.size:,} rows")

# %%
gain = pieces(one.predictor)
wanted = list(gain)[:SHOWN]
pd.Series(gain, name="share of gain").head(15).to_frame()

# %% [markdown]
# Average precision lost without each piece, with 95 % intervals by a bootstrap over drives. An interval that reaches
# zero says that nothing is known to be lost. Short histories are cut by month.

# %%
days = pd.DatetimeIndex(rows.frame["asof_at"].to_numpy()) - pd.Timedelta(days=1)
period = days.to_period("Q" if (one.last - one.first).days > 100 else "M").astype(str)
lost = {}
for each in sorted(set(period)):
    part = rows.part(np.asarray(period == each))
    if part.outcomes.failed.any():
        lost[each] = lost_without(part, one.predictor, wanted)
table = pd.DataFrame({each: {name: m.value for name, m in told.items()} for each, told in lost.items()})
table.round(4)

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for number, (each, told) in enumerate(lost.items()):
    value, low, high = (
        np.array([getattr(told[name], bound) or 0.0 for name in wanted]) for bound in ("value", "low", "high")
    )
    at = np.arange(len(wanted)) + 0.15 * (number - len(lost) / 2)
    axes.errorbar(value, at, xerr=np.clip([value - low, high - value], 0, None), fmt="o", label=each)
axes.axvline(0, color="grey", linewidth=1)
axes.set(yticks=range(len(wanted)), yticklabels=wanted, xlabel="average precision lost without it")
axes.invert_yaxis()
axes.legend()
plt.show()
