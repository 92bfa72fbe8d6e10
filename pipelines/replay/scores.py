"""Risks of past nights, by models that knew what was known then; kept in a folder, so a killed replay goes on.

A file appears whole or not at all, and its name says what it was made from: another snapshot, another spec or another
feature statement makes other files.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.contracts import HORIZON_DAYS
from features import build
from models import predictor as judges
from models import spec as specs
from models.examples import doubles
from models.predictor import Predictor
from models.spec import Spec

if TYPE_CHECKING:
    import duckdb

RISKS: Final = tuple(f"risk_{days}d" for days in HORIZON_DAYS)
KEPT: Final = ("entity_id", "status", "reason", *RISKS)
RULE: Final = "rule"
"""How many of the rule's attributes are above zero."""


@dataclass(frozen=True)
class Scores:
    """Where the risks of past nights come from: one model for all of them, or one a month, trained on the way."""

    con: "duckdb.DuckDBPyConnection"
    spec: Spec
    folder: Path
    fixed: Predictor | None = None
    """The one model; null: models trained on the way, each on labels known at the end of the month before its own."""
    months: int = 1
    """How long a model trained on the way is in use, from the start of a month, a quarter, a year."""

    def predictor(self, day: date) -> Predictor:
        """The model that judges the end of that day."""
        if self.fixed is not None:
            return self.fixed
        ahead = day + timedelta(days=1)
        begins = ahead.replace(day=1, month=(ahead.month - 1) // self.months * self.months + 1)
        return self._trained(begins - timedelta(days=1))

    def night(self, day: date) -> pa.Table:
        """Every live entity at the end of the day: `KEPT`, and `RULE`; sorted by entity."""
        judge = self.predictor(day)
        file = self._place("risks", judge.version, digest(judge.booster_text + judge.to_json())) / f"{day}.parquet"
        if not file.exists():
            _write(_told(self.con, judge, day), file)
        return pq.read_table(file)

    def _trained(self, until: date) -> Predictor:
        folder = self._place("models", until.isoformat(), json.dumps(specs.as_mapping(self.spec), sort_keys=True))
        version = f"until-{until}"
        if not folder.exists():
            from models.train import fit

            made = replace(fit(self.con, self.spec, until).predictor, version=version)
            draft = folder.with_name(f"{folder.name}.part")
            draft.mkdir(parents=True, exist_ok=True)
            (draft / "booster.txt").write_text(made.booster_text, encoding="utf-8")
            (draft / "model.json").write_text(made.to_json(), encoding="utf-8")
            draft.rename(folder)
        return _read(folder, version)

    def _place(self, kind: str, name: str, made_from: str) -> Path:
        key = digest(f"{self._facts}|{build.recipe(self.spec.component)}|{made_from}")[:12]
        return self.folder / kind / self.spec.component / f"{name}-{key}"

    @cached_property
    def _facts(self) -> str:
        """What the snapshot holds, in a few figures."""
        query = "select count(*), sum(rows_loaded), max(ingested_at) from ingest_file"
        return str(self.con.execute(query).fetchall())


@lru_cache(maxsize=2)
def _read(folder: Path, version: str) -> Predictor:
    told, booster = (folder / "model.json").read_text("utf-8"), (folder / "booster.txt").read_text("utf-8")
    return judges.from_json(told, booster, version)


def digest(text: str) -> str:
    """The text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()


def _told(con: "duckdb.DuckDBPyConnection", judge: Predictor, day: date) -> pa.Table:
    from models.score import fleet, risks

    with build.sparing(con):
        spine = build.spine(con, judge.component, [day])
        counts = fleet(con, judge, day)
        frame = build.frame(con, judge.component, spine, counts, names={*judge.asked, *judge.spec.rule})
    told = risks(frame, judge, pa.nulls(frame.num_rows, pa.string()), top_reasons=0).select(list(KEPT))
    over = np.zeros(frame.num_rows, dtype=np.int32)
    for name in judge.spec.rule:
        over += doubles(frame, name) > 0
    return told.append_column(RULE, pa.array(over)).sort_by("entity_id")


def _write(table: pa.Table, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.part")
    pq.write_table(table, draft, compression="zstd")
    draft.rename(file)
