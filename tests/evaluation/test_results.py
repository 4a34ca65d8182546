"""Numbers with intervals, comparisons, files, the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.evaluation.report import html
from talkies.evaluation.results import ColumnEntry, Results, Row, as_csv, load, save
from talkies.evaluation.statistics import compare, compare_all, corrected, estimate, of_column


def results(model: str, shift: float = 0.0, count: int = 12) -> Results:
    rng = np.random.default_rng(3)
    rows = [
        Row(
            key=f"clip-{k}",
            values={"lip r": float(rng.normal(0.6, 0.1)) + shift, "Sync-C": None},
            matrix=((0.8, None), (0.1, None)),
            curves={
                "person 1 seen": tuple(rng.random(30)), "person 1 wanted": tuple(rng.random(30)),
                **{name: tuple(rng.random(3)) for name in ("colour drift", "contrast", "sharpness", "motion energy")},
            },
        )
        for k in range(count)
    ]  # fmt: skip
    broken = Row(key="<script>alert(1)</script>", failure="no face is found for person 1.")
    directions = {"lip r": "higher", "Sync-C": "higher", "FVD": "lower"}
    columns = {name: ColumnEntry.model_validate({"direction": way}) for name, way in directions.items()}
    return Results(model=model, set="tiny", columns=columns, rows=(*rows, broken), whole={"FVD": 12.5})


def test_intervals_cover_the_mean() -> None:
    rng = np.random.default_rng(0)
    hits = [
        abs(e.mean) > 0 and e.low <= 0 <= e.high for e in (estimate(list(rng.standard_normal(25))) for _ in range(60))
    ]
    assert 0.85 <= np.mean(hits) <= 1.0
    assert estimate([]).count == 0 and np.isnan(estimate([1.0]).low)
    assert estimate([1.0, float("nan"), 3.0]).count == 2
    assert estimate([1.0, 2.0, 4.0]) == estimate([1.0, 2.0, 4.0])


def test_a_real_difference_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(1)
    first = {str(k): float(v) for k, v in enumerate(rng.standard_normal(30))}
    better = {key: value + 0.5 + 0.1 * float(rng.standard_normal()) for key, value in first.items()}
    found = compare(first, better)
    assert found.count == 30 and found.p < 1e-4 and found.effect == 1.0
    assert found.difference.low < 0.5 < found.difference.high
    assert np.isnan(compare(first, first).p) and compare(first, first).effect == 0.5
    assert compare({"a": 1.0}, {"b": 2.0}).count == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holms_correction_keeps_the_order_and_never_helps(ps: list[float]) -> None:
    found = corrected(ps)
    assert all(own <= new <= 1 for own, new in zip(ps, found, strict=True))
    assert [found[k] for k in np.argsort(ps, kind="stable")] == sorted(found)
    assert found[int(np.argmin(ps))] == pytest.approx(min(1.0, min(ps) * len(ps)))


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    first, second = results("ours"), results("theirs", 0.2)
    save([first, second], tmp_path)
    assert load(tmp_path) == (first, second)
    assert as_csv([first]).splitlines()[0] == "model,set,key,lip r,Sync-C,FVD,failure"
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + 2 * 13
    found = compare_all(first, second)
    assert list(found) == ["lip r"] and found["lip r"].difference.mean == pytest.approx(0.2)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        load(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match="holds no results of an evaluation"):
        load(tmp_path)


def test_the_report_holds_everything_itself_and_runs_nothing() -> None:
    page = html([results("ours", 0.1), results("ground truth"), results("shuffled audio", -0.4)])
    assert page == html([results("ours", 0.1), results("ground truth"), results("shuffled audio", -0.4)])
    assert "<script" not in page and "&lt;script&gt;" in page
    for outside in ('src="http', "href=", "@import", "url("):
        assert outside not in page.replace('xlink:href="#', "").replace("url(#", "")
    assert page.count("<svg") >= 5 and "12.500" in page and "best: clip-" in page
    with pytest.raises(InputError, match="nothing to report"):
        html([])


def scored(model: str, values: list[float], direction: str, meaning: str = "", protocol: str = "tracks") -> Results:
    """Results with the one column `x`."""
    entry = ColumnEntry.model_validate({"direction": direction, "meaning": meaning})
    rows = tuple(Row(key=str(k), values={"x": value}) for k, value in enumerate(values))
    return Results(model=model, set="tiny", protocol=protocol, columns={"x": entry}, rows=rows)


def test_shares_that_are_all_alike_are_not_certain() -> None:
    """Wilson's interval of 10 of 10 begins at 10 / (10 + z^2)."""
    sure = of_column(scored("ours", [1.0] * 10, "higher", "share of faces"), "x")
    assert (sure.low, sure.high) == pytest.approx((10 / (10 + 1.959964**2), 1.0))
    assert of_column(scored("ours", [0.0] * 10, "zero", "a shift"), "x").high == 0.0  # no share: its draws
    partly = [1.0] * 9 + [0.5]
    assert of_column(scored("ours", partly, "higher", "share of faces"), "x") == estimate(partly)


def test_what_has_a_target_is_ranked_and_tested_by_how_far_off_it_is() -> None:
    wild, calm = scored("wild", [-9.0, 9.0] * 6, "zero"), scored("calm", [1.0 + k / 20 for k in range(12)], "zero")
    found = compare_all(wild, calm)["|x|"]
    assert found.first == 9.0 and found.second < 2 and found.p < 0.01
    assert "<td class=best>1.275" in html([wild, calm])
    assert list(compare_all(scored("a", [1.5], "one"), scored("b", [0.7], "one"))) == ["|x - 1|"]


def test_only_like_is_compared_with_like(tmp_path: Path) -> None:
    one, other = scored("ours", [1.0], "higher"), scored("ours", [1.0], "higher", protocol="halves")
    for refusing in (lambda: compare_all(one, other), lambda: html([one, other])):
        with pytest.raises(InputError, match="different protocols: halves, tracks"):
            refusing()
    save([one], tmp_path)
    save([other], tmp_path)
    names = ["rows-halves.csv", "rows.csv", "tiny-ours-halves.json", "tiny-ours.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_whole_numbers_count_measured_videos_and_plots_skip_empty_columns() -> None:
    one = results("ours")
    entry = ColumnEntry.model_validate({"direction": "higher"})
    empty = {f"empty {k}": entry for k in range(20)}
    page = html([one.model_copy(update={"columns": {**empty, **one.columns}})])
    assert "12.500<small>n=12</small>" in page  # 13 rows, one of them failed
    assert "<h2>Intervals</h2>" in page
