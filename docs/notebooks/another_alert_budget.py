# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # What would another alert budget bring?
#
# A budget is the share of the fleet that is flagged each day. More of it finds more failures, at a lower precision; the
# lead time says whether there is time to act. The rule "any of SMART 5, 187, 188, 197, 198 above zero" stands beside it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from data.snapshots import read
from models.baselines import RULE
from models.evaluate import evaluate
from models.later import last_day, later
from models.measure import Settings, measure
from pipelines.settings import load
from pipelines.steps.evaluate import predictors

COMPONENT = "disk"
BUDGETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

settings = load()
model = next(iter(predictors(settings, COMPONENT).values()))
with read(settings.home) as con:
    one = later(con, model, last_day(con, COMPONENT))
    report = evaluate(con, COMPONENT, {"model": one.predictor}, one.first, one.last, Settings(budgets=BUDGETS))
fleet = report.rows / len(report.days)
print(f"version {one.predictor.version}, {len(report.days)} days from {report.days[0]} to {report.days[-1]}")
print(f"{report.failing_entities} entities fail within {report.horizon_days} days")

# %%
leads = {
    budget: measure(
        report.outcomes, report.scores["model"], Settings(budgets=(budget,), operating_budget=budget), probability=True
    ).lead_days
    for budget in BUDGETS
}
figures = report.models["model"]
told = pd.DataFrame(
    {
        "flagged a day": [budget * fleet for budget in BUDGETS],
        **{
            name: [f"{m.value:.3f} ({m.low:.3f} to {m.high:.3f})" for m in held.values()]
            for name, held in (("precision", figures.precision_at), ("recall", figures.recall_at))
        },
        **{
            f"lead days, {name}": [
                "-"
                if lead[name].value is None
                else f"{lead[name].value:.1f} ({lead[name].low:.1f} to {lead[name].high:.1f})"
                for lead in leads.values()
            ]
            for name in ("median", "p10")
        },
    },
    index=pd.Index(BUDGETS, name="budget"),
)
told

# %%
figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
curves = {name: report.models[name] for name in ("model", RULE)}
for name, held in curves.items():
    for axes, measured in zip(panels, (held.precision_at, held.recall_at), strict=False):
        value, low, high = (
            np.array([getattr(m, bound) or 0.0 for m in measured.values()]) for bound in ("value", "low", "high")
        )
        axes.plot(BUDGETS, value, marker="o", label=name)
        axes.fill_between(BUDGETS, low, high, alpha=0.2)
median = [(budget, lead["median"]) for budget, lead in leads.items() if lead["median"].value is not None]
panels[2].plot([budget for budget, _ in median], [m.value for _, m in median], marker="o")
panels[2].fill_between([b for b, _ in median], [m.low for _, m in median], [m.high for _, m in median], alpha=0.2)
for axes, title in zip(panels, ("precision", "recall", "median lead time (days)"), strict=True):
    axes.set(xscale="log", xlabel="share of the fleet flagged a day", title=title, ylim=(0, None))
    axes.grid(alpha=0.3)
panels[0].legend()
plt.show()
