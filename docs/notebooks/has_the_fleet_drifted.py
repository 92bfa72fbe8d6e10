# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Has the fleet drifted since the model learned?
#
# The population stability index (PSI) of each feature, of the hardware models and of the risks, between the last day
# that the model knew and the last day held. 0.1 is worth a look, 0.25 another population. Once a month has passed, what
# was predicted is held against what happened.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from data.snapshots import arrow, read
from models.drift import drift
from models.later import last_day
from pipelines.settings import load
from pipelines.steps.evaluate import predictors

COMPONENT = "disk"
SHOWN = 15

settings = load()
model = next(iter(predictors(settings, COMPONENT).values()))
with read(settings.home) as con:
    told = drift(con, model, last_day(con, COMPONENT))
    kept = arrow(
        con, "select * from drift where component = $component and part = '' order by asof_at", {"component": COMPONENT}
    ).to_pandas()
print(f"version {told.version}: {told.day} against {told.reference}")
print("\n".join(told.alarms) or "no alarm")

# %%
shown = pd.Series(
    {"(hardware models)": told.model_mix, "(risk)": told.risk, **dict(list(told.features.items())[:SHOWN])}
)
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
axes.barh(shown.index, shown.to_numpy())
for edge in (0.1, model.spec.drift.psi):
    axes.axvline(edge, color="grey", linestyle="--")
axes.set(xlabel="population stability index")
axes.invert_yaxis()
plt.show()

# %% [markdown]
# What became of the risks whose horizon is over, and, where `foreshock watch` runs daily, how the measures went.

# %%
matured = told.matured
names = ("precision", "recall", "observed_over_predicted")
pd.DataFrame(
    {name: vars(getattr(matured, name)) for name in names}
).T if matured else "No risk since has a horizon that is over."

# %%
if len(kept):
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name, group in kept.groupby("measure"):
        axes.plot(group["asof_at"], group["value"], marker="o", label=name)
    axes.legend()
    plt.show()
else:
    print("foreshock watch has kept no measure of this model yet")
