"""A scoring day: features of the whole fleet, and everything at five horizons with reasons.

foreshock bench scoring
"""

from pathlib import Path

from benchmarks.bench import Finding, Places
from benchmarks.contest import Answer, Contest, Contestant, Job, contest, same
from benchmarks.drive_history import History, expanded, history, last_day, opened, simulated
from benchmarks.training_frame import SIZES, Sizes, histories
from features import build
from models import predictor, score, spec, train

TITLE = "A scoring day"
HALF_YEAR_FILES = 2
"""The long history is written in one file a quarter."""
_AT = "benchmarks.scoring_day"
_FEATURES, _HALF, _ALL = "features, whole history", "features, half a year", "risks at five horizons, reasons of 1,000"


def run(places: Places, sizes: Sizes = SIZES) -> Finding:
    """What a night's scoring costs, and whether it grows with the history held."""
    whole, half, model = _prepared(places, sizes)
    found = contest(
        [
            Contestant(_FEATURES, f"{_AT}:features", (str(whole.folder), str(model))),
            Contestant(_HALF, f"{_AT}:features", (str(half.folder), str(model))),
            Contestant(_ALL, f"{_AT}:everything", (str(whole.folder), str(model))),
        ],
        places.rounds,
    )
    same({name: found.answer(name) for name in (_FEATURES, _HALF, _ALL)}, ("drives",))
    drives = found.answer(_ALL)["drives"]
    return Finding(
        title=TITLE,
        text=_text(whole, half, found, real=(places.telemetry / "disk").exists()),
        columns=("", "drives", "drive-days held", "CPU s", "most memory, MiB"),
        rows=[
            (who, f"{drives:,}", f"{one.rows:,}", str(found.cpu_seconds(who)), f"{found.peak_bytes(who) / 2**20:,.0f}")
            for who, one in ((_FEATURES, whole), (_HALF, half), (_ALL, whole))
        ],
        ratios={
            "scoring_history_growth": found.ratio(_FEATURES, _HALF),
            "scoring_features_seconds": found.cpu_seconds(_FEATURES),
            "scoring_all_seconds": found.cpu_seconds(_ALL),
        },
        peak_bytes={who: found.peak_bytes(who) for who in found.runs},
    )


def features(folder: str, model: str) -> Job:
    """Who is asked about on the last day, and those of their features that the model asks for."""
    con, day = opened(folder), last_day(folder)
    judge = _judge(model)
    build.feature_names("disk")

    def job() -> Answer:
        with build.sparing(con):
            spine, counts = build.spine(con, "disk", [day]), score.fleet(con, judge, day)
            frame = build.frame(con, "disk", spine, counts, judge.asked)
        return {"drives": frame.num_rows, "features": len(judge.asked)}

    return job


def everything(folder: str, model: str) -> Job:
    """All that `models.score` does: features, risks at five horizons, reasons of the thousand riskiest."""
    con, day = opened(folder), last_day(folder)
    judge = _judge(model)
    build.feature_names("disk")
    return lambda: {"drives": score.score(con, "disk", judge, day).num_rows}


def _judge(model: str) -> predictor.Predictor:
    told, booster = (Path(f"{model}.{ending}").read_text() for ending in ("json", "txt"))
    return predictor.from_json(told, booster, "benchmark")


def _prepared(places: Places, sizes: Sizes) -> tuple[History, History, Path]:
    """The whole history, its last half year, and a model trained on a tenth of it."""
    work, held = places.scratch("frame"), histories(places, sizes)
    whole, tenth = held.whole, held.tenth
    if held.real:
        newest = expanded(places.telemetry, work / "whole-files")[-HALF_YEAR_FILES:]
    else:
        newest = simulated(work / "simulated-files", sizes.drives, sizes.days)
    half = history(work / f"half-of-{whole.folder.name}", newest)
    model = work / f"model-of-{tenth.folder.name}"
    if not model.with_suffix(".json").exists():
        day = last_day(str(tenth.folder))
        fitted = train.fit(opened(str(tenth.folder)), spec.load("disk"), day).predictor
        Path(f"{model}.txt").write_text(fitted.booster_text)
        Path(f"{model}.json").write_text(fitted.to_json())
    return whole, half, model


def _text(whole: History, half: History, found: Contest, *, real: bool) -> str:
    source = "The history is that of real drives" if real else "There was no telemetry: **the history is simulated**"
    answer, all_of = found.answer(_FEATURES), len(build.feature_names("disk"))
    return f"""
{source}. Asked at the end of its last day are {int(answer["drives"]):,} live drives. CPU seconds of all threads, user
and system, in a fresh process (`scoring_features_seconds`, `scoring_all_seconds`); the median of the rounds with the
least and the most. Made are the {answer["features"]} of {all_of} features on which the model splits, or that its
reasons are told by: a night makes no others. `scoring_history_growth` is what they cost with {whole.rows:,} drive-days
held over what they cost with the last half year alone ({half.rows:,}): {found.ratio(_FEATURES, _HALF)}. Everything:
features, the risks within 1, 3, 7, 14 and 30 days, and the reasons of the thousand riskiest; the model was trained on a
tenth of the drives, with the recipe that is served.
"""
