# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Why was this drive flagged?
#
# Its risk, the reasons that the on-call engineer sees, how good such calls have been, and how the risk and the features
# behind the reasons came about over the last two months, each day as it was known at its end.

# %%
import json
from datetime import timedelta

import matplotlib.pyplot as plt
import pandas as pd
import pyarrow.compute as pc

from data.snapshots import read
from features.build import frame, spine
from features.wording import reason
from models.examples import doubles
from models.later import last_day
from models.score import score
from pipelines.settings import load
from pipelines.steps.evaluate import predictors

COMPONENT = "disk"
ENTITY = None  # a serial number; None: the riskiest of the last day held
DAYS = 60

settings = load()
model = next(iter(predictors(settings, COMPONENT).values()))
with read(settings.home) as con:
    day = last_day(con, COMPONENT)
    risks = score(con, COMPONENT, model, day)
    risks = risks.filter(pc.equal(risks["entity_id"], ENTITY) if ENTITY else pc.is_valid(risks["factors"]))
    flagged = risks.sort_by([("risk_30d", "descending")]).slice(0, 1).to_pylist()[0]
    asked = spine(con, COMPONENT, [day - timedelta(days=back) for back in range(DAYS)])
    history = frame(con, COMPONENT, asked.filter(pc.equal(asked["entity_id"], flagged["entity_id"])))
risk = model.predict(history)
print(
    f"{flagged['entity_id']} in {flagged['host_id'] or 'no known host'}, by version {model.version}, as of the end of {day}"
)
pd.Series({f"{days} days": flagged[f"risk_{days}d"] for days in model.spec.horizon_days}, name="risk").to_frame()

# %%
factors = json.loads(flagged["factors"] or "[]")
pd.DataFrame(
    [(reason(f["feature"], f["value"]), f["feature"], f["value"], f["contribution"]) for f in factors],
    columns=["because of", "feature", "value", "adds to the log-odds"],
)

# %% [markdown]
# How good calls of such a risk have been on later days, with the exact 95 % interval, and of the next month's calls how
# many will come true.

# %%
held = [band for band in model.earned if band.risk_from <= (flagged["risk_30d"] or 0)][-1:]
pd.DataFrame([vars(band) for band in held])

# %%
moment = history["asof_at"].to_pandas()
figure, panels = plt.subplots(
    1 + len(factors), figsize=(8, 2.2 * (1 + len(factors))), sharex=True, layout="constrained"
)
panels = [panels] if not factors else list(panels)
panels[0].plot(moment, risk[:, -1], color="tab:red")
panels[0].set(title="risk within 30 days", ylim=(0, None))
for axes, factor in zip(panels[1:], factors, strict=True):
    axes.step(moment, doubles(history, factor["feature"]), where="post")
    axes.set_title(factor["feature"])
figure.autofmt_xdate()
plt.show()
