"""Charts: whole markup, marks inside their frame, and a table that holds the same numbers."""

import re
from xml.etree import ElementTree

import pytest
from flask import render_template_string
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

IMPORT = "{% from 'macros/charts.html' import line_chart, bar_chart, stacked_chart, funnel, heat_map, spark, gauge %}"
numbers = st.integers(0, 5_000_000)


@pytest.fixture
def draw(app):
    def draw(call, **values):
        with app.test_request_context("/"):
            return ElementTree.fromstring(f"<div>{render_template_string(IMPORT + call, **values)}</div>")

    return draw


def cells(chart):
    return ["".join(cell.itertext()) for cell in chart.iter("td") if cell.get("class") == "num"]


def boxes(chart):
    """(x, y, width, height) of every bar, and the frame it is drawn in."""
    for svg in chart.iter("svg"):
        frame = [float(part) for part in svg.get("viewBox").split()]
        for rect in svg.iter("rect"):
            yield [float(rect.get(name, 0)) for name in ("x", "y", "width", "height")], frame


def inside(chart):
    return all(
        x >= 0 and y >= -0.2 and x + wide <= frame[2] + 0.7 and y + tall <= frame[3] + 0.2
        for (x, y, wide, tall), frame in boxes(chart)
    )


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(numbers | st.none(), max_size=60))
def test_a_line_stays_inside_its_frame(draw, values):
    points = [{"label": f"day {place}", "value": value} for place, value in enumerate(values)]
    chart = draw("{{ line_chart('x', 'Leads', 'Says', points) }}", points=points)
    assert len(cells(chart)) == len(values)
    for path in chart.iter("path"):
        heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([-\d.]+)", path.get("d"))]
        assert all(0 <= y <= 220 for y in heights)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(numbers, numbers), max_size=20))
def test_bars_stay_inside_their_frame(draw, rows):
    series = [{"label": "One", "kind": "main"}, {"label": "Other", "kind": "quiet"}]
    columns = [{"label": str(place), "parts": row} for place, row in enumerate(rows)]
    assert inside(
        draw("{{ stacked_chart('x', 'T', 'Says', series, columns) }}", series=series, columns=columns)
    )
    heat = [{"label": str(place), "cells": row} for place, row in enumerate(rows)]
    assert inside(draw("{{ heat_map('x', 'T', 'Says', rows, ['8', '9']) }}", rows=heat))
    bars = [{"label": str(place), "value": row[0]} for place, row in enumerate(rows)]
    assert inside(draw("{{ bar_chart('x', 'T', rows) }}", rows=bars))


@given(value=st.floats(0, 1), limit=st.floats(0.001, 0.1))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gauge_stays_inside_its_frame(draw, value, limit):
    assert inside(draw("{{ gauge('Bounces', value, limit, 'now', 'limit') }}", value=value, limit=limit))


def test_each_picture_has_a_name_and_a_sentence(draw):
    chart = draw("{{ line_chart('x', 'Leads per week', 'Rising.', [{'label': 'May', 'value': 3}]) }}")
    svg = next(chart.iter("svg"))
    named = {part.get("id"): "".join(part.itertext()) for part in chart.iter() if part.get("id")}
    assert (named[svg.get("aria-labelledby")], named[svg.get("aria-describedby")]) == (
        "Leads per week",
        "Rising.",
    )


def test_a_funnel_links_its_numbers_and_says_the_rate(draw):
    steps = [{"label": "Leads", "value": 40, "href": "/all"}, {"label": "Booked", "value": 10, "rate": 25}]
    chart = draw("{{ funnel('x', 'Funnel', steps) }}", steps=steps)
    assert [link.get("href") for link in chart.iter("a")] == ["/all"]
    assert "25% of the step before" in "".join(chart.itertext())
    assert inside(chart)
