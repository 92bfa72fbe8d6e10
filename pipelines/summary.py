"""What a person reads on a terminal after a long command: a few lines, the important ones first."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

QUIET: Final = frozenset({"monitor"})
"""Actions that are counted, not listed."""
_LISTED: Final = 20
_FATES: Final = ("sent", "recalled", "refused", "expired", "dead", "postponed")
_BUDGETS: Final = ("0.0005", "0.001", "0.01")


def cycle(report: Mapping[str, Any]) -> str:
    """A night: a line for each step, then what acts."""
    ingest, decided, sent, settled = (report[step] for step in ("ingest", "decide", "dispatch", "settle"))
    judged = [f"{s['entities']:,} {s['component']}s by model {s['model_version']}" for s in report["score"]]
    unknown = sum(score["unknown"] for score in report["score"])
    rows = {
        "ingest": f"{ingest['rows_loaded']:,} rows from {ingest['files']:,} files, {ingest['rows_duplicate']:,} held "
        f"already, {ingest['rows_quarantined']:,} quarantined",
        "score": f"{', '.join(judged) or 'nothing'}; {unknown:,} unknown",
        "decide": _decided(decided),
        "dispatch": counted({key: sent.get(key, 0) for key in _FATES}),
        "settle": f"orders: {counted(settled['orders'])}; VMs: {counted(settled['outcomes'])}; "
        f"episodes closed: {counted(settled['why'])}",
    }
    took = {"took": ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report["stage_seconds"].items())}
    lines = [_title(decided), "", *(f"  {name:<10}{text}" for name, text in (rows | took).items())]
    if sent["stopped_by"]:
        lines.append(f"  nothing was handed over: the kill switch was thrown by {sent['stopped_by']}")
    if why := settled.get("unanswered"):
        lines.append(f"  answers are missing: {why}")
    lines += [f"  an answer is of no use: {one['why']}" for one in settled.get("bad", ())]
    lines += [f"  a source is silent: {why}" for why in ingest.get("unreachable", ())]
    return "\n".join([*lines, *_acting(decided)])


def decided(report: Mapping[str, Any]) -> str:
    """A decision: what was proposed, what bound it, and what acts."""
    return "\n".join([_title(report), "", f"  {_decided(report)}", *_acting(report)])


def incidents(report: Mapping[str, Any]) -> str:
    """Incidents, each with its factors and their evidence."""
    note = "; the fleet is simulated" if report["simulated"] else ""
    counts = f"{report['affected']:,} of {report['parts']:,} parts failed in the last {report['window_days']:g} days"
    lines = [f"As of {str(report['asof_at'])[:10]}: {counts} or are at risk{note}"]
    for one in report["incidents"]:
        lines += ["", f"  {one['kind'].upper()}  {one['sentence']}"]
        lines += [f"    {nth}. {factor['sentence']}" for nth, factor in enumerate(one["factors"], start=1)]
        lines.append(
            f"    {len(one['hosts_affected']):,} hosts affected, {len(one['hosts_at_stake']):,} more share it; "
            f"incident {one['incident_id']}"
        )
    return "\n".join(
        lines if report["incidents"] else [*lines, "", "  They have nothing in common that chance would not give."]
    )


def evaluated(report: Mapping[str, Any]) -> str:
    """Models and baselines side by side, each figure with its 95 % interval."""
    days = report["days"]
    head = (
        f"{report['component']}: {report['rows']:,} rows on {len(days)} days from {days[0]} to {days[-1]}, "
        f"{report['failing_entities']:,} entities fail within {report['horizon_days']} days"
    )
    columns = ["average precision", *(f"precision, top {float(b):.2%}" for b in _BUDGETS), "recall, top 1.00%"]
    table = [["", *columns]]
    for name, figures in report["models"].items():
        version = report["versions"].get(name)
        at = [figures["precision_at"].get(budget) for budget in _BUDGETS]
        cells = [figures["average_precision"], *at, figures["recall_at"].get("0.01")]
        table.append([f"{name} (version {version})" if version else name, *(_interval(cell) for cell in cells)])
    left_out = [f"  left out: {name}, {why}" for name, why in report["left_out"].items()]
    return "\n".join([head, "", *_aligned(table), *left_out, *_kept(report["earned"]), *_simulated(report)])


def _kept(earned: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What came of each model's calls, by band of risk, against what had been foretold of so many."""
    for model, bands in earned.items():
        yield from ("", f"  {model}: what came of its calls, by 30-day risk, against what training foretold (95 %)")
        rows = [["risk from", "earned", "calls", "came true", "foretold"]]
        for band in bands:
            low, high = band["foretold_low"], band["foretold_high"]
            outside = "" if low <= band["hits"] <= high else " (outside)"
            earned_then = f"{band['earned']:.1%} of {band['alerts']:,}"
            span = f"{low:,} to {high:,}{outside}"
            rows.append([f"{band['risk_from']:.0%}", earned_then, f"{band['calls']:,}", f"{band['hits']:,}", span])
        yield from _aligned(rows)


def compared(report: Mapping[str, Any]) -> str:
    """Two models' figures, what the first has more than the second, and how they were made differently."""
    days, (one, other) = report["days"], report["versions"]
    head = (
        f"{report['component']}: {report['rows']:,} rows on {len(days)} days from {days[0]} to {days[-1]}, "
        f"{report['failing_entities']:,} entities fail"
    )
    table = [["", "difference", "ratio"]]
    for name, difference in report["differences"].items():
        ratio = report["ratios"][name]
        table.append([name.replace("_", " "), _interval(difference), "-" if ratio is None else f"{ratio:.2f}"])
    settings = [f"  {name}: {first} against {second}" for name, (first, second) in report["parameters"].items()]
    return "\n".join([head, "", f"  version {one} against version {other}", *_aligned(table), "", *settings])


def replayed(report: Mapping[str, Any]) -> str:
    """Arms beside each other, how far the policy is from the best, and where two policies differ."""
    head = (
        f"{report['from']} to {report['to']}: {report['hosts']:,} hosts, {report['vm_days']:,.0f} VM-days, "
        f"{report['failures']:,} failures; moves and interruptions are simulated, placement is "
        f"{'the inventory' if report['placement'] == 'inventory' else 'simulated too'}"
    )
    table = [["", "AIR", "saving", "interruptions", "VMs moved", "hosts emptied"]]
    for name, air in report["air"].items():
        counts = (report["interruptions"][name]["value"], report["migrations"][name], report["hosts_emptied"][name])
        table.append([name, _interval(air), _interval(report["saving"][name]), *(f"{count:,.0f}" for count in counts)])
    changed = report["diff"]["changed"]
    lines = [
        f"  regret           {_interval(report['regret'])} (best fixed policy: {report['hindsight']['chosen']})",
        f"  to the oracle    {_interval(report['to_oracle'])}",
        f"  other decisions  {counted(changed)}",
    ]
    return "\n".join([head, "", *_aligned(table), "", *lines])


def valued(report: Mapping[str, Any]) -> str:
    """What each way to choose would have cost a decision, beside what was foretold, and how much tells of it."""
    simulated = " (simulated)" if report["simulated"] else ""
    head = (
        f"{report['from']} to {report['to']}: {report['decisions']:,} decisions on {report['hosts']:,} hosts were left "
        f"to chance{simulated}; {report['horizon_days']:g} days after each are counted"
    )
    left = (
        f"  left out: {report['not_over']:,} whose {report['horizon_days']:g} days are not over, "
        f"{report['repeated']:,} of a draw that was counted before"
    )
    if not report["policies"]:
        why = "no other decision was drawn" if report["not_over"] else "policy opens an experiment by experiment.share"
        return f"{head}\n{left}\n  nothing to value yet: {why}"
    table = [
        [
            "VM interruptions a decision",
            "doubly robust",
            "over the cheapest",
            "by weights",
            "foretold",
            "decisions' worth",
        ]
    ]
    for name, one in report["policies"].items():
        told = (_interval(one["dr"]), _interval(one["over_cheapest"]), _interval(one["snips"]))
        table.append([name.replace("_", " "), *told, f"{one['direct']['value']:.3f}", f"{one['effective']:.0f}"])
    return "\n".join([head, left, "", *_aligned(table)])


def drifted(report: Mapping[str, Any]) -> str:
    """What has shifted since a model learned, what came true, and what is an alarm."""
    head = f"{report['component']} version {report['version']}: {report['day']} against {report['reference']}"
    most = list(report["features"].items())[:5]
    rows = [["hardware models", f"{report['model_mix']:.3f}"], ["risk", f"{report['risk']:.3f}"]]
    rows += [[name, f"{value:.3f}"] for name, value in most]
    lines = [
        head,
        "",
        "  population stability index (0.1: worth a look, 0.25: another population)",
        *_aligned(rows),
        "",
    ]
    matured = report["matured"]
    if matured is None:
        lines.append("  no risk since has a horizon that is over and a failure in it")
    else:
        lines += _aligned([[name.replace("_", " "), _interval(matured[name])] for name in
                           ("precision", "recall", "observed_over_predicted")])  # fmt: skip
    alarms = [f"  ALARM  {sentence}" for sentence in report["alarms"]]
    return "\n".join([*lines, "", *(alarms or ["  no alarm"])])


def watched(report: Mapping[str, Any]) -> str:
    """What the watch over the champions saw, and what came of it."""
    lines = [f"The champions on {report['day']}"]
    for one in report["models"]:
        lines += ["", f"  {one['component']} version {one['version']}, which knows everything until {one['until']}"]
        lines += [f"    ALARM  {sentence}" for sentence in one["alarms"]]
        lines.append(f"    {one['why']}")
    return "\n".join(lines)


def _simulated(report: Mapping[str, Any]) -> list[str]:
    """That the fleet is simulated, and how often the reasons of true alerts name what the simulator planted."""
    named = [
        f"  {model}: the reasons of {share['alerts']:,} true alerts name the planted precursor in {share['named']:.1%} "
        f"({share['low']:.1%} to {share['high']:.1%})"
        for model, shares in report.get("precursors", {}).items()
        for precursor, share in shares.items()
        if precursor == "all"
    ]
    return ["", "  All of this is simulated.", *named] if report.get("simulated") else []


def counted(counts: Mapping[str, int]) -> str:
    """Counts in a phrase, largest first, zeros left out."""
    shown = sorted(((count, name) for name, count in counts.items() if count), key=lambda pair: (-pair[0], pair[1]))
    return ", ".join(f"{count:,} {name}" for count, name in shown) or "none"


def _title(decided: Mapping[str, Any]) -> str:
    note = "; placement of VMs is simulated" if decided["simulated"] else ""
    return f"As of {str(decided['asof_at'])[:16].replace('T', ' ')} UTC, by model {decided['model_version']}{note}"


def _decided(report: Mapping[str, Any]) -> str:
    bound = f"; guardrails bit: {counted(report['blocked'])}" if report["blocked"] else ""
    if report["already_decided"]:
        state = " (already decided; nothing new was recorded)"
    else:
        state = "" if report["recorded"] else " (nothing was recorded)"
    return f"{counted(report['proposals'])}{bound}{state}"


def _acting(report: Mapping[str, Any]) -> Iterator[str]:
    if report["under_kill_switch"]:
        yield (
            "  KILL SWITCH   this was decided while the kill switch was thrown, so nothing acts on it; run it again "
            "after the release (foreshock start) to have the night decided anew"
        )
    for incident in report["incidents"]:
        yield f"  INCIDENT      {incident['sentence']}. {incident['response']}".rstrip()
    for breaker in report["breaker"]:
        yield f"  BREAKER OPEN  {breaker['sentence']}"
    acting = [one for one in report["listed"] if one["action"] not in QUIET]
    if acting:
        yield ""
        rows = [[f"{one['action']} ({one['autonomy']})", one["host_id"], one["reasons"][0]] for one in acting[:_LISTED]]
        yield from _aligned(rows)
        if len(acting) > _LISTED:
            yield f"  and {len(acting) - _LISTED:,} more"
        yield ""
        yield "  Reasons and prices: foreshock review, or foreshock decisions list"


def _interval(measured: Mapping[str, float | None] | None) -> str:
    if measured is None or measured["value"] is None:
        return "-"
    if measured["low"] is None or measured["high"] is None:
        return f"{measured['value']:.3f}"
    return f"{measured['value']:.3f} [{measured['low']:.3f}, {measured['high']:.3f}]"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
