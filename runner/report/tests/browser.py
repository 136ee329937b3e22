#!/usr/bin/env python3
"""Opens reports in headless Chromium and uses them as people do: python3 browser.py PROGRAM [OUTPUT ...]

PROGRAM is clr-run. Without outputs, a small sweep is trained first, with trials that diverge and a range test. What the page says is
compared with what polars computes from the Parquet files. Needs `playwright` (its Python package alone) and a Chromium, of
Debian's package for instance; without one, it says that it was skipped.

With --pictures FOLDER, it leaves a screenshot of each report at each width and in each scheme of colours.
"""
import argparse
import json
import math
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import polars as pl

SWEEP = """
[experiment]
name  = "sweep"
seeds = [1, 2, 3]

[model]
plugin       = "quadratic"
architecture = "quadratic"
noise        = 0.5

[data]
dataset    = "shapes"
batch_size = 10

[train]
iterations = 600
eval_every = 20

[policies.fixed]
kind    = "fixed"
base_lr = 0.01

[policies.triangular]
kind      = "triangular"
base_lr   = 0.01
max_lr    = [0.1, 0.2]
step_size = 100

[policies.short]
kind             = "fixed"
base_lr          = 0.02
train.iterations = 300

[policies.hot]
kind       = "fixed"
base_lr    = 1e6
optimizers = ["gd"]

[policies.range_test]
kind       = "range_test"
min_lr     = 0.0
max_lr     = 1.0
optimizers = ["gd"]

[optimizers.gd]
kind = "gd"

[optimizers.sgd]
kind     = "sgd"
momentum = 0.9
"""


class Table:
    """What polars reads from an output."""

    def __init__(self, output):
        self.output = output
        self.trials = pl.read_parquet(output / "trials.parquet").with_columns(pl.col(pl.Categorical).cast(pl.String))
        self.evals = pl.read_parquet(output / "evals/*.parquet").with_columns(pl.col(pl.Categorical).cast(pl.String))
        self.metrics = pl.read_parquet(output / "metrics/*.parquet") if (output / "metrics").is_dir() else None
        axes = [name for name in ["policy", "optimizer", *json_axes(output)] if name in self.trials.columns]
        self.axes = list(dict.fromkeys(axes))
        self.cell = [axis for axis in self.axes if axis not in ("seed", "init_seed", "data_seed")]

    def finished(self):
        return self.trials.filter((pl.col("status") == "finished") & pl.col("final_test_accuracy").is_not_null())


def json_axes(output):
    return [axis["name"] for axis in json.loads((output / "plan.json").read_text())["axes"]]


def percent(value, digits=2):
    return f"{100 * value:.{digits}f}%"


def near(found, expected, what):
    assert found is not None and math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-7), f"{what}: {found} instead of {expected}"


def is_rounded(text, value, what):
    """A percentage with two digits, whichever way a tie is rounded."""
    assert abs(float(text.rstrip("%")) - 100 * value) < 0.00501, f"{what}: {text} instead of {percent(value)}"


class Tab:
    """A page that is open, and what it said."""

    def __init__(self, browser, page, **options):
        options.setdefault("viewport", {"width": 1280, "height": 900})
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.said = []
        self.asked = []
        self.tab.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.tab.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.page = page

    def open(self, fragment=""):
        # A fragment alone would not load the page again.
        self.tab.goto("about:blank")
        self.tab.goto(f"file://{self.page}{fragment}")
        self.tab.wait_for_selector("body[data-ready]")
        return self.tab

    def show(self, place):
        """Brings a section or a chart into view, and waits until its charts are drawn."""
        self.tab.evaluate("id => document.getElementById(id).scrollIntoView()", place)
        self.tab.wait_for_function(
            "id => [...document.querySelectorAll(`#${id} .chart, #${id}.chart`)].every(box => box.hidden || box.chart.instance)",
            arg=place,
        )

    def option(self, chart):
        return self.tab.evaluate(
            """id => {
                const option = document.getElementById(id).chart.instance.getOption();
                return { names: option.series.filter(it => it.type === "line" && it.xAxisIndex !== 1).map(it => it.name),
                         zoom: option.dataZoom?.[0] && [option.dataZoom[0].start, option.dataZoom[0].end],
                         y: option.yAxis?.[0]?.type, log: option.xAxis?.[0]?.type,
                         marks: option.series.flatMap(it => it.markLine?.data ?? []).map(it => it.xAxis) };
            }""",
            chart,
        )

    def close(self):
        self.context.close()
        assert self.said == [], f"the console is not empty: {self.said}"
        outside = [url for url in self.asked if not re.match("file:|about:|data:|blob:", url)]
        assert outside == [], f"it asks for {outside}"


def check_answer(tab, table):
    best = table.finished().sort("final_test_accuracy", descending=True, maintain_order=True)
    text = tab.locator("#best-trial").inner_text()
    if best.height == 0:
        assert "No trial has finished" in text, text
        return
    value = best["final_test_accuracy"][0]
    of_best = best.filter(pl.col("final_test_accuracy") == value)
    assert any(trial.startswith(tab.locator("#best-trial a").inner_text()) for trial in of_best["trial"]), text
    is_rounded(re.search(r"([\d.]+%)\.$", text).group(1), value, "the best trial")

    rows = tab.locator("#table-best tbody tr")
    by_optimizer = table.finished()["optimizer"].n_unique() if "optimizer" in table.trials.columns else 1
    for row in range(rows.count()):
        cells = rows.nth(row).locator("th, td").all_inner_texts()
        name, mean, deviation, n = cells[:4]
        words = dict(word.split("=") for word in name.split() if "=" in word)
        found = table.finished()
        for axis in ("policy", "optimizer"):
            values = [value for value in found[axis].unique() if value in name.split()] if axis in found.columns else []
            if values:
                found = found.filter(pl.col(axis) == values[0])
        for key, value in words.items():
            column = next(axis for axis in table.axes if axis.split(".")[-1] == key)
            found = found.filter((pl.col(column) - float(value)).abs() <= 1e-4 * abs(float(value)))
        values = found["final_test_accuracy"].cast(pl.Float64)
        assert int(n) == values.len(), f"{name}: {n} instead of {values.len()}"
        is_rounded(mean, values.mean(), name)
        if values.len() > 1:
            is_rounded(deviation, values.std(), f"{name}, deviation")
        # No other cell of the optimizer has a higher mean.
        others = table.finished()
        if by_optimizer > 1 and "optimizer" in found.columns:
            others = others.filter(pl.col("optimizer") == found["optimizer"][0])
        means = others.group_by(table.cell).agg(pl.col("final_test_accuracy").cast(pl.Float64).mean(), pl.len())
        most = means["len"].max()
        rivals = means.filter(2 * pl.col("len") >= most)["final_test_accuracy"]
        assert values.mean() >= rivals.max() - 1e-6, f"{name} is not the best: {means}"
    return rows.count()


def check_leaderboard(tab, table):
    def shown():
        return [row.get_attribute("data-trial") for row in tab.locator("#table-trials tbody tr").all()]

    def expected(column, descending):
        values = table.trials.with_row_index().sort([column, "index"], descending=[descending, False], nulls_last=True)
        return values["trial"].to_list()

    for column, clicks, descending in [("final_test_accuracy", 0, True), ("final_train_loss", 1, False), ("final_train_loss", 2, True)]:
        tab.locator("#choice-group").select_option("none") if tab.locator("#choice-group").count() else None
        for _ in range(min(clicks, 1)):
            tab.click(f'#table-trials thead button[data-column="{column}"]')
        ids = expected(column, descending)
        handles = shown()
        assert all(trial.startswith(handle) for trial, handle in zip(ids, handles)), f"{column}: {handles} instead of {ids[:len(handles)]}"
    tab.click('#table-trials thead button[data-column="final_test_accuracy"]')

    threshold = table.finished()["final_test_accuracy"].median()
    policy = table.trials["policy"][0] if "policy" in table.trials.columns else ""
    for words, wanted in [
        (policy, table.trials.filter(pl.col("label").str.contains(policy, literal=True)).height),
        (f"final_test_accuracy>{threshold}", table.trials.filter(pl.col("final_test_accuracy").cast(pl.Float64) > threshold).height),
        ("seed=1", table.trials.filter(pl.col("seed") == 1).height if "seed" in table.trials.columns else 0),
        ("no such trial", 0),
    ]:
        tab.fill("#choice-filter", words)
        count = int(re.match(r"[\d,]+", tab.locator("#trials-count").inner_text()).group().replace(",", ""))
        assert count == wanted, f"`{words}` leaves {count} trials instead of {wanted}"
    tab.fill("#choice-filter", "")

    if tab.locator('#choice-group option[value="cell"]').count():
        tab.select_option("#choice-group", "cell")
        means = table.finished().group_by(table.cell).agg(pl.col("final_test_accuracy").cast(pl.Float64).mean().alias("mean"), pl.len().alias("n"))
        ordered = means.sort("mean", descending=True)["mean"].to_list()
        heads = [button.get_attribute("data-column") for button in tab.locator("#table-trials thead button").all()]
        place = heads.index("mean final_test_accuracy")
        cells = [row.locator("th, td").nth(place).inner_text() for row in tab.locator("#table-trials tbody tr").all()]
        for text, mean in zip(cells, ordered):
            is_rounded(text, mean, "the mean of a group")
        tab.select_option("#choice-group", "none")


def check_curves(tab, table, own):
    own.show("curves")
    before = own.option("chart-curves")["names"]
    assert len(before) > 1, before
    names = {button.inner_text(): button for button in tab.locator("#legend-curves .key").all()}
    hidden = before[0]
    names[hidden].click()
    assert own.option("chart-curves")["names"] == before[1:], "a line that is hidden is gone"
    tab.get_by_role("button", name=hidden, exact=True).click()
    assert sorted(own.option("chart-curves")["names"]) == sorted(before)

    only = before[-1]
    tab.get_by_role("button", name=f"show {only} alone", exact=True).click(force=True)
    assert own.option("chart-curves")["names"] == [only], "one line is shown alone"

    # The mean over seeds at an evaluation, where the pointer is.
    last = tab.evaluate("() => Math.max(...document.getElementById('chart-curves').chart.instance.getOption().xAxis.map(axis => axis.max))")
    policy, optimizer = (only.split() + ["", ""])[:2]
    rows = table.evals.filter((pl.col("split") == "test") & (pl.col("policy") == policy))
    if "optimizer" in rows.columns and table.trials["optimizer"].n_unique() > 1:
        rows = rows.filter(pl.col("optimizer") == optimizer)
    for word in only.split():
        if "=" in word:
            key, value = word.split("=")
            rows = rows.filter((pl.col(key) - float(value)).abs() < 1e-9)
    iterations = rows["iteration"].unique().sort().to_list()
    at = iterations[len(iterations) // 2]
    mean = rows.filter(pl.col("iteration") == at)["accuracy"].cast(pl.Float64).mean()
    x, y = tab.evaluate(
        """at => {
            const box = document.getElementById("chart-curves");
            const [x, y] = box.chart.instance.convertToPixel({ xAxisIndex: 0, yAxisIndex: 0 }, [at, box.chart.instance.getOption().series[1].data[1][1]]);
            const { left, top } = box.getBoundingClientRect();
            return [left + x, top + 120];
        }""",
        at,
    )
    tab.mouse.move(x, y)
    tab.mouse.move(x + 1, y)
    tip = tab.wait_for_selector(".tip")
    text = tip.inner_text()
    assert f"iteration {at:,}" in text, f"{text}, at {at} of {last}"
    is_rounded(re.search(r"([\d.]+)%", text.split("\n", 1)[1]).group(1), mean, f"{only} at {at}")
    tab.mouse.move(0, 0)
    tab.get_by_role("button", name="reset", exact=True).click()

    # Ctrl and the wheel zoom, and the address tells.
    tab.keyboard.down("Control")
    tab.mouse.move(x, y)
    tab.mouse.wheel(0, -400)
    tab.keyboard.up("Control")
    tab.wait_for_function("() => location.hash.includes('zoom=')")
    start, end = own.option("chart-curves")["zoom"]
    assert end - start < 99, (start, end)

    tab.select_option("#choice-y", "loss")
    tab.check("#choice-ylog")
    option = own.option("chart-curves")
    assert option["y"] == "log" and option["zoom"] != [0, 100], option
    address = tab.evaluate("() => location.hash")
    return address, option


def check_link(browser, page, address, option):
    """The address of a view leads to the same view in another window."""
    own = Tab(browser, page)
    tab = own.open(address)
    own.show("curves")
    found = own.option("chart-curves")
    assert (found["y"], found["names"]) == (option["y"], option["names"]), (found, option)
    assert all(abs(a - b) < 0.01 for a, b in zip(found["zoom"], option["zoom"])), (found, option)
    assert tab.locator("#choice-y").input_value() == "loss"
    own.close()


def check_trial(browser, page, table, program, world, is_quick):
    """A trial's own page: its rows, and the command that trains it alone."""
    own = Tab(browser, page)
    best = table.finished().sort("final_test_accuracy", descending=True, maintain_order=True)
    tab = own.open("#filter=seed%3D1")
    tab.locator("#table-trials tbody a").first.click()
    tab.wait_for_selector("#trial h1")
    handle = re.search("trial=(\\w+)", tab.url).group(1)
    row = table.trials.filter(pl.col("trial").str.starts_with(handle))
    assert row.height == 1 and tab.locator("#trial h1").inner_text() == row["label"][0]
    text = tab.locator("#trial").inner_text()
    assert percent(row["final_test_accuracy"][0]) in text, "its final accuracy"
    if table.metrics is not None:
        own.show("chart-trial-training-loss")
        found = tab.evaluate("() => document.getElementById('chart-trial-training-loss').chart.instance.getOption().series[0].data")
        rows = table.metrics.filter(pl.col("trial").cast(pl.String) == row["trial"][0]).sort("iteration")
        losses = rows["loss"].to_list()
        for iteration, loss in found:
            near(loss, losses[iteration], f"loss at {iteration}")
        assert found[0][0] == 0 and found[-1][0] == len(losses) - 1
        finite = [loss for loss in losses if loss is not None]
        near(max(loss for _, loss in found), max(finite), "the highest loss")
        near(min(loss for _, loss in found), min(finite), "the lowest loss")
    command = tab.locator(".command code").first.inner_text()
    words = shlex.split(command)
    assert words[0] == "clr-run" and words[2:4] == ["--outputs", "alone"], command
    planned = subprocess.run([program, "plan", words[1], *words[4:], "--json"], cwd=world, capture_output=True, text=True)
    assert planned.returncode == 0, planned
    ids = [trial["id"] for trial in json.loads(planned.stdout)["trials"]]
    assert ids == [row["trial"][0]], f"{command} trains {ids}"
    again = shlex.split(tab.locator(".command code").last.inner_text())
    proven = subprocess.run([program, *again[1:], "--quiet"], cwd=world, capture_output=True, text=True) if is_quick else None
    assert proven is None or proven.returncode == 0, proven
    tab.click("#back")
    assert tab.locator("#choice-filter").input_value() == "seed=1", "the filter is as it was"
    assert tab.locator("#trials").is_visible() and best.height > 0
    own.close()


def check_looks(browser, page, name, pictures):
    """No chart fails and nothing is wider than the window, on a desktop and a phone, in light and dark, and on paper."""
    for width, height in [(1280, 900), (390, 844)]:
        for scheme in ["light", "dark"]:
            own = Tab(browser, page, viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 600)
            tab = own.open()
            for section in tab.locator("main > section").all():
                own.show(section.get_attribute("id"))
            boxes = tab.evaluate("() => [...document.querySelectorAll('.chart')].map(box => [box.id, box.querySelectorAll('canvas').length])")
            assert boxes and all(canvases > 0 for _, canvases in boxes), boxes
            wide = tab.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"at {width} it is {wide} too wide"
            tab.evaluate("() => scrollTo(0, 0)")
            if pictures:
                tab.screenshot(path=pictures / f"{name}-{width}-{scheme}.png", full_page=True)
            if width > 600 and scheme == "dark":
                tab.pdf(path=(pictures or pathlib.Path(tempfile.gettempdir())) / f"{name}.pdf", format="A4")
            own.close()


def check_range(own, table):
    if "policy.kind" not in table.trials.columns or "range_test" not in table.trials["policy.kind"].to_list():
        return
    own.show("range")
    marks = [mark for mark in own.option("chart-range")["marks"] if mark is not None]
    text = own.tab.locator("#range table").inner_text()
    assert len(marks) == 2 or "no bounds" in text, (marks, text)
    if len(marks) == 2:
        assert 0 <= marks[0] < marks[1], marks


def check(browser, program, output, world, pictures):
    page = world / f"{output.name}.html"
    written = subprocess.run([program, "report", output, "--out", page], capture_output=True, text=True)
    assert written.returncode == 0, written
    table = Table(output)
    own = Tab(browser, page)
    tab = own.open()
    counted = tab.locator("header .counts").inner_text()
    assert counted.startswith(f"{table.trials.height} trial"), counted
    check_answer(tab, table)
    check_leaderboard(tab, table)
    check_range(own, table)
    address, option = check_curves(tab, table, own)
    own.close()
    check_link(browser, page, address, option)
    check_trial(browser, page, table, program, world, output.is_relative_to(world))
    check_looks(browser, page, output.name, pictures)
    print(f"{output}: {table.trials.height} trials, {page.stat().st_size:,} bytes: all as it should be")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("outputs", type=pathlib.Path, nargs="*")
    arguments.add_argument("--pictures", type=pathlib.Path)
    asked = arguments.parse_args()
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if chromium is None or sync_playwright is None:
        print("SKIPPED: reports in a browser, since there is no Chromium or no playwright here")
        return
    if asked.pictures:
        asked.pictures.mkdir(parents=True, exist_ok=True)
    program = asked.program.resolve()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        world = pathlib.Path(folder).resolve()
        outputs = [output.resolve() for output in asked.outputs]
        if not outputs:
            (world / "spec.toml").write_text(SWEEP)
            trained = subprocess.run([program, "spec.toml", "--quiet"], cwd=world, capture_output=True, text=True)
            assert trained.returncode == 0, trained
            outputs = [world / "outputs/sweep"]
        # As root, which CI often is, Chromium's sandbox does not start.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for output in outputs:
            check(browser, program, output, world, asked.pictures)
        browser.close()


main()
