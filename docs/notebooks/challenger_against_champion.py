# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Challenger against champion: is the new recipe better, and how surely?
#
# Both learn until the same day and are judged on the same later ones, under the same bootstrap replicates, so what
# differs is the recipe alone. `foreshock compare` does the same for two registered versions as they stand.

# %%
from dataclasses import replace
from datetime import timedelta

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from data.snapshots import read
from models.compare import compare
from models.later import last_day, later, learned
from pipelines.settings import load
from pipelines.steps.evaluate import predictors

COMPONENT = "disk"

settings = load()
found = predictors(settings, COMPONENT)
champion = next(iter(found.values()))
challenger = found.get("challenger")
# Change this line to try a recipe of your own; without a challenger it is one with half as many rounds.
recipe = challenger.spec if challenger else replace(champion.spec, rounds=champion.spec.rounds // 2)
with read(settings.home) as con:
    one = later(con, champion, last_day(con, COMPONENT))
    candidate = replace(learned(con, recipe, one.first - timedelta(days=1)), version="the new recipe")
    told = compare(con, candidate, one.predictor, one.first, one.last)
print(f"{' against '.join(told.versions)}: {told.rows:,} rows, {told.failing_entities} entities fail")
pd.DataFrame(told.parameters, index=["new", "champion"]).T

# %% [markdown]
# The new recipe minus the champion's. Only an interval that leaves zero out is a difference.

# %%
table = pd.DataFrame({name: vars(m) for name, m in told.differences.items()}).T.astype(float)
table.round(4)

# %%
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
around = np.clip([table["value"] - table["low"], table["high"] - table["value"]], 0, None)
axes.errorbar(table["value"], table.index, xerr=around, fmt="o")
axes.axvline(0, color="grey", linestyle="--")
axes.set(xlabel="new minus champion (95 % interval)")
axes.invert_yaxis()
plt.show()
