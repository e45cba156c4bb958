"""Procedural sounds of blows: knocks, footsteps, clocks, glass, keys, applause."""

from __future__ import annotations

from typing import Final

import numpy as np

from soundflow.backends.sounds.procedural.dsp import (
    RATE,
    Choice,
    ProceduralSound,
    Range,
    Signal,
    Values,
    add,
    band,
    beats,
    burst,
    grains,
    noise,
    scatter,
    struck,
    wander,
)


def knocks(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise knocks on a wooden door: short dense modes of the panel, the click of the knuckles, groups with pauses."""
    modes = np.sort(p["pitch"] * np.array([1.0, 1.62, 2.35, 3.4, 4.9, 6.8]) * (1 + 0.06 * rng.standard_normal(6)))
    decays = np.array([0.16, 0.13, 0.1, 0.07, 0.05, 0.04])
    out, at = np.zeros(n), 0.03
    group = p["count"] or round(p["group"])
    while at < n / RATE - 0.1:
        for when in beats(n, p["rate"], 0.06, rng, first=at, count=group):
            force = rng.uniform(0.7, 1.1)
            panel = struck(
                RATE // 4,
                modes * (1 + 0.01 * rng.standard_normal(6)),
                decays,
                force ** np.arange(1, 7) * 0.7 ** np.arange(6),
                rng,
            )
            add(out, when, panel)
            add(out, when, burst(700, rng, band(250, 2500, 1.5, 0.5), 0.035), 0.35 * force)
        if p["count"]:
            break
        at += group / p["rate"] + p["pause"]
    return out


def footsteps(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise footsteps: heel, then ball of the foot; the surface decides between thud, click and crunch."""
    heel_band, ball_band, crunch = {
        "wood": (band(70, 500, 1.5, 0.3), band(200, 1500, 1), 0.0),
        "concrete": (band(200, 2500, 1, 0.3), band(800, 5000, 1), 0.0),
        "gravel": (band(150, 1500, 1), band(1200, 6500, 1), 1.0),
    }[p["surface"]]
    out = np.zeros(n)
    for number, at in enumerate(beats(n, p["rate"], 0.04, rng, count=p["count"])):
        force = rng.uniform(0.75, 1.1) * (1.0 if number % 2 else 0.85)
        add(out, at, burst(2400, rng, heel_band, 0.09, 0.002), force)
        add(out, at + rng.uniform(0.06, 0.1), burst(2400, rng, ball_band, 0.07, 0.006), 0.45 * force)
        if p["surface"] == "wood":
            add(
                out,
                at,
                struck(3200, rng.uniform(0.9, 1.1) * np.array([110, 190, 320]), [0.18, 0.14, 0.1], [1.5, 1, 0.6], rng),
                force,
            )
        if crunch:
            length = round(0.22 * RATE)
            shape = 90 + 500 * np.exp(-((np.arange(length) / RATE - 0.05) ** 2) / 0.003)
            places = scatter(length, shape, rng)
            stones = [burst(120, rng, band(low, 7000, 1), 0.006, 0.0003) for low in (1200, 2200, 3500)]
            add(out, at, grains(length, places, stones, rng.exponential(0.5, places.size), rng), force)
    return out


def clock_tick(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise an escapement: tick and tock differ, each is three clicks of pallet and wheel in a resonating case."""
    case = p["case"] * np.array([1.0, 1.9, 3.1])
    kinds = []
    for pitch in (1.0, rng.uniform(0.8, 0.93)):
        kind = np.zeros(2400)
        metal = pitch * np.sort(rng.uniform(2200, 6500, 5))
        for at, gain in ((0.0, 0.5), (rng.uniform(0.006, 0.012), 1.0), (rng.uniform(0.018, 0.03), 0.3)):
            add(kind, at, struck(800, metal, rng.uniform(0.008, 0.03, 5), rng.uniform(0.4, 1, 5), rng), gain)
            add(kind, at, burst(300, rng, band(1500, 7000, 1), 0.005), 0.6 * gain)
        add(kind, 0.007, struck(2300, case * pitch, [0.09, 0.06, 0.04], [0.7, 0.4, 0.25], rng))
        kinds.append(kind)
    out = np.zeros(n)
    for number, at in enumerate(beats(n, p["rate"], 0.003, rng)):
        add(out, at, kinds[number % 2], rng.uniform(0.93, 1.07))
    return out


def glass_break(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise breaking glass: the crack, the modes of the pane, then falling shards, fewer and smaller with time."""
    out = np.zeros(n)
    add(out, 0.03, burst(1600, rng, band(300, 7500, 1), 0.09, 0.0005), 2.2)
    add(out, 0.03, struck(4000, rng.uniform(300, 1800, 8), rng.uniform(0.04, 0.15, 8), rng.uniform(0.3, 0.9, 8), rng))
    time = np.arange(n) / RATE
    fall = np.exp(-np.maximum(time - 0.05, 0) / (0.22 * p["debris"])) * (time > 0.05)
    landing = 0.35 * np.exp(-((time - 0.35 * p["debris"]) ** 2) / (0.02 * p["debris"] ** 2))
    places = scatter(n, 260 * p["shards"] * (fall + landing) + 3 * (time > 0.1) * np.exp(-time / p["debris"]), rng)
    kinds = []
    for _ in range(24):
        root = rng.uniform(1800, 5200)
        ratios = np.array([1.0, rng.uniform(1.2, 1.7), rng.uniform(1.8, 2.6)])
        kinds.append(struck(2400, root * ratios, rng.uniform(0.03, 0.16, 3), [1.0, 0.7, 0.4], rng))
    gains = rng.exponential(0.35, places.size) * (0.25 + np.exp(-places / RATE / p["debris"]))
    return out + grains(n, places, kinds, gains, rng)


def typing(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise typing: click, bottom impact and ring of each key, its release; runs of keys, pauses, the space bar."""
    kinds = []
    for _ in range(12):
        key = np.zeros(2400)
        add(key, 0.0, burst(400, rng, band(1800, 6500, 1), 0.008, 0.0005), 0.5)
        add(key, 0.008, burst(800, rng, band(250, 2200, 1), 0.03, 0.001), 1.0)
        add(
            key,
            0.008,
            struck(
                1600,
                rng.uniform(0.9, 1.1, 4) * np.array([420, 1150, 2300, 3900]),
                [0.05, 0.04, 0.02, 0.015],
                [0.8, 0.6, 0.5, 0.4],
                rng,
            ),
        )
        kinds.append(key)
    out, at = np.zeros(n), 0.03
    while at < n / RATE - 0.05:
        for _ in range(int(rng.integers(4, 14))):
            key = kinds[int(rng.integers(12))]
            add(out, at, key, rng.uniform(0.5, 1.0))
            add(out, at + rng.uniform(0.06, 0.11), key[120:1200], rng.uniform(0.15, 0.3))
            at += rng.gamma(6.0, 1 / 6.0) / p["rate"]
        add(out, at, burst(2000, rng, band(120, 1500, 1), 0.06, 0.002), 0.9)
        at += rng.uniform(0.1, 0.6) * p["pauses"] + 1 / p["rate"]
    return out


def applause(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise applause: every person has a rhythm, every clap one of 24 hand resonances, over a murmur of the crowd."""
    people = round(p["people"])
    kinds = [
        burst(900, rng, band(centre * 0.6, centre * 1.7, 2.5), rng.uniform(0.012, 0.03), 0.001)
        + 0.4 * burst(900, rng, band(2000, 7000, 1), 0.008, 0.0005)
        for centre in rng.uniform(700, 2400, 24)
    ]
    places, gains = [], []
    for _ in range(people):
        times = np.array(beats(n, rng.uniform(2.6, 4.8), 0.06, rng, first=rng.uniform(0.0, 0.5)))
        places.append(np.minimum(np.rint(times * RATE).astype(np.intp), n - 1))
        gains.append(np.full(times.size, rng.uniform(0.15, 1.0) ** 1.5) * rng.uniform(0.7, 1.2, times.size))
    out = grains(n, np.concatenate(places), kinds, np.concatenate(gains), rng)
    murmur = noise(n, rng, band(200, 3000, 1, 0.4)) * 0.02 * np.sqrt(people)
    applause: Signal = (out + murmur) * (1 + 0.12 * wander(n, rng, 0.5))
    return applause


_TEMPO = {"less": "slow slowly", "more": "fast rapid rapidly quick quickly hurried"}
SOUNDS: Final = (
    ProceduralSound(
        "knocks",
        knocks,
        "knock|door knock|knocking on door|rap on door",
        "{adjectives} knocking on a wooden door",
        {
            "pitch": Range(110, 260, "Hz, lowest mode of the panel", less="low deep heavy", more="high light"),
            "rate": Range(2.5, 6.0, "knocks/s", **_TEMPO),
            "group": Range(2, 5, "knocks in a group (rounded)"),
            "pause": Range(0.5, 1.5, "s between groups"),
        },
        also="door wooden wood hollow firm fist knuckle someone person urgent insistent polite front",
        seconds=(0.4, 20.0),
        counted="rate",
        tail=0.35,
    ),
    ProceduralSound(
        "footsteps",
        footsteps,
        "footstep|walk|step|footfall|person walk",
        "{adjectives} footsteps on {surface}",
        {
            "surface": Choice(
                {
                    "wood": "wooden floorboard parquet",
                    "concrete": "pavement stone tile tiled sidewalk",
                    "gravel": "crunch crunching",
                }
            ),
            "rate": Range(1.4, 2.8, "steps/s", **_TEMPO),
        },
        also="person someone foot walk floor hard shoe approach stair heel boot ground path",
        counted="rate",
        tail=0.25,
    ),
    ProceduralSound(
        "clock_tick",
        clock_tick,
        "clock tick|tick|ticking clock|clock|wall clock|watch tick",
        "{adjectives} mechanical clock ticking",
        {
            "rate": Range(1.0, 4.0, "beats/s", **_TEMPO),
            "case": Range(180, 700, "Hz, the case", less="large deep grandfather", more="small pocket"),
        },
        also="mechanical wall tick tock wooden metronomic regular rhythmic antique old second hand pendulum",
    ),
    ProceduralSound(
        "glass_break",
        glass_break,
        "glass break|glass shatter|glass smash|breaking glass|shattering glass|broken glass|window break|window shatter",
        "{adjectives} glass breaking and shards falling",
        {
            "shards": Range(0.3, 1.6, "× 260 shards/s at first", less="small", more="large big"),
            "debris": Range(0.5, 1.6, "s the shards keep falling", less="short", more="long"),
        },
        also="shard fall pane window drop crash onto hard floor tile tinkle piece scatter drinking bottle",
        seconds=(0.6, 4.0),
    ),
    ProceduralSound(
        "typing",
        typing,
        "typing|keyboard|computer keyboard|keyboard typing|keyboard click",
        "{adjectives} typing on a computer keyboard",
        {
            "rate": Range(3.5, 9.0, "keys/s", **_TEMPO),
            "pauses": Range(0.1, 1.5, "between runs", more="hesitant"),
        },
        also="computer keyboard click clack key laptop mechanical someone person tap type office",
    ),
    ProceduralSound(
        "applause",
        applause,
        "applause|clapping|applaud|crowd applause|audience applause|audience clapping",
        "{adjectives} applause from an audience",
        {"people": Range(6, 120, "clappers (rounded)", less="small sparse polite", more="large big thunderous")},
        also="audience crowd people hall hand clap group enthusiastic theatre theater concert",
        wet=0.3,
    ),
)
