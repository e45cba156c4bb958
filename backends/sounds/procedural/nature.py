"""Procedural sounds of nature: rain, wind, thunder, water, waves, fire, birds, crickets."""

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
    resonance,
    scatter,
    shaped,
    struck,
    tone,
    unit,
    wander,
)


def _bubble(rng: np.random.Generator, low: float, high: float, rise: float) -> Signal:
    """A bubble (Minnaert): a damped tone whose pitch rises as the bubble nears the surface."""
    pitch = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    decay = 90.0 / pitch * rng.uniform(0.8, 1.6)
    n = round(min(decay, 0.25) * RATE)
    time = np.arange(n) / RATE
    phase = 2 * np.pi * pitch * (time + rise / decay * time * time / 2)
    bubble: Signal = np.sin(phase) * np.exp(-6.91 * time / decay) * np.minimum(time / 0.0015, 1.0)
    return bubble


def rain(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise rain: the hiss of far drops, single taps of near drops on the chosen surface, slow drifts of strength."""
    high, modes = {
        "ground": (6500.0, (1800, 4200)),
        "roof": (4500.0, (350, 1500)),
        "leaves": (5500.0, (900, 2600)),
        "window": (7000.0, (1200, 3500)),
    }[p["surface"]]
    drift = 1 + 0.08 * wander(n, rng, 0.4)
    hiss = noise(n, rng, band(400, high, 1.0, 0.1)) * drift
    kinds = []
    for _ in range(20):
        tap = burst(260, rng, band(modes[0], high, 1), rng.uniform(0.003, 0.01), 0.0004)
        kinds.append(tap + struck(260, rng.uniform(*modes, 2), [0.012, 0.008], [0.8, 0.5], rng))
    places = scatter(n, p["intensity"] * drift, rng)
    near = grains(n, places, kinds, rng.lognormal(0.0, 0.6, places.size), rng)
    return hiss * 0.9 + unit(near) * 0.75


def wind(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise gusts: low turbulence, and edges whose whistle rises with the strength of the wind."""
    strength = np.exp(0.55 * p["gusts"] * wander(n, rng, 0.35) + 0.12 * wander(n, rng, 2.0))
    low = noise(n, rng, band(60, 350, 1, 0.6)) * strength
    howl = np.zeros(n)
    for centre in rng.uniform(250, 1300, 4):
        curve = centre * strength ** rng.uniform(0.25, 0.5) * (1 + 0.02 * wander(n, rng, 3.0))
        carrier = noise(n, rng, lambda f: 1 / (1 + (f / 25.0) ** 2))  # narrow noise, moved onto the whistle
        howl += carrier * np.cos(2 * np.pi / RATE * np.cumsum(np.minimum(curve, 3500))) * strength**2 * rng.uniform(0.4, 1)
    air = noise(n, rng, band(500, 3500, 1, 0.8)) * strength**1.5
    wind: Signal = low + p["howl"] * unit(howl) * strength.mean() + 0.35 * air
    return wind


def thunder(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise thunder: a near crack, then claps from along the channel, each lower and longer than the one before."""
    out = np.zeros(n)
    seconds = n / RATE
    if p["crack"] > 0.05:
        for at in np.sort(rng.uniform(0.03, 0.25, 6)):
            crack = burst(RATE // 3, rng, band(200, 5000, 1, 0.4), rng.uniform(0.05, 0.3), 0.001)
            add(out, at, crack, p["crack"] * rng.uniform(0.5, 2))
    for at in np.sort(rng.uniform(0.05, 0.7 * seconds, int(4 + 3 * seconds))):
        length = min(n, round(rng.uniform(0.6, 2.5) * RATE))
        high = 450 * np.exp(-1.2 * at / seconds) * rng.uniform(0.5, 1.3)
        clap = noise(length, rng, band(35, high, 1.5, 0.5))
        time = np.arange(length) / RATE
        clap *= np.minimum(time / rng.uniform(0.02, 0.15), 1) * np.exp(-4.0 * time / (length / RATE))
        add(out, at, clap, rng.uniform(0.3, 1.2) * np.exp(-1.8 * at / seconds))
    roll = noise(n, rng, band(30, 180, 1.5, 0.5)) * np.exp(0.6 * wander(n, rng, 2.5))
    return (out + 0.35 * roll) * np.minimum(1.0, np.linspace(2.5, 0, n)) ** 1.2


def water_drops(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a leaking tap: impact and bubble of each drop, sometimes a second bubble, in a basin that resonates."""
    out = np.zeros(n)
    basin = resonance(*((rng.uniform(400, 3000), 120, 0.8) for _ in range(4)))
    for at in beats(n, p["rate"], p["irregular"], rng, count=p["count"]):
        force = rng.uniform(0.6, 1.0)
        add(out, at, burst(200, rng, band(2500, 7000, 1), 0.004, 0.0003), 0.25 * force)
        add(out, at + rng.uniform(0.004, 0.02), _bubble(rng, p["pitch"] * 0.85, p["pitch"] * 1.2, 0.3), force)
        if rng.uniform() < 0.4:
            add(out, at + rng.uniform(0.03, 0.09), _bubble(rng, p["pitch"] * 1.2, p["pitch"] * 2.0, 0.4), 0.4 * force)
    return out + 0.5 * shaped(out, basin)


def stream(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise running water: hundreds of bubbles a second over the hiss of small ones."""
    kinds = [_bubble(rng, p["pitch"] * 0.6, p["pitch"] * 5, rng.uniform(0, 0.6)) for _ in range(48)]
    flow = np.exp(0.25 * wander(n, rng, 3.0))
    places = scatter(n, p["bubbles"] * flow, rng)
    gurgle = grains(n, places, kinds, rng.lognormal(0.0, 0.9, places.size) * rng.choice((-1, 1), places.size), rng)
    return unit(gurgle) + 0.4 * noise(n, rng, band(500, 5500, 1, 0.3)) * flow


def waves(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise surf: each wave swells at low frequencies, breaks and runs out at high ones."""
    out = 0.12 * noise(n, rng, band(100, 1500, 1, 0.5))
    for at in beats(n, 1 / p["period"], 0.15, rng, first=-rng.uniform(0.2, 0.6) * p["period"]):
        length = round(1.5 * p["period"] * RATE)
        turn = np.arange(length) / length
        swell, run = (
            np.exp(-(((turn - 0.4) / 0.16) ** 2)),
            np.where(turn > 0.35, np.exp(-(turn - 0.35) * 6), 0) * (turn - 0.35) * 9,
        )
        wave = swell * noise(length, rng, band(60, 900, 1, 0.6)) + run * noise(length, rng, band(800, 6000, 1, 0.3))
        add(out, at, wave * np.minimum(1, (1 - turn) * 5), rng.uniform(0.6, 1.1))
    return out


def fire(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise burning wood: the flutter of the flame, many small crackles, rare loud pops, in bunches."""
    flame = noise(n, rng, band(50, 500, 1, 0.7)) * np.exp(0.4 * wander(n, rng, 5.0))
    hiss = noise(n, rng, band(1500, 6000, 1)) * np.exp(0.7 * wander(n, rng, 1.0))
    kinds = [burst(300, rng, band(low, low * 4, 1), rng.uniform(0.002, 0.012), 0.0002) for low in rng.uniform(500, 2600, 24)]
    places = scatter(n, p["crackles"] * np.exp(0.9 * wander(n, rng, 1.5)), rng)
    gains = np.minimum(rng.pareto(1.6, places.size) + 0.3, 9.0)
    return 0.35 * flame + 0.1 * hiss + unit(grains(n, places, kinds, gains, rng)) * 0.9


def birds(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise birds: each has a motif of quick sweeps and trills, repeated with small changes."""
    out = np.zeros(n)
    for _ in range(round(p["birds"])):
        pitch, gain = p["pitch"] * rng.uniform(0.75, 1.3), rng.uniform(0.4, 1.0)
        notes = [
            (rng.uniform(0.04, 0.16), rng.uniform(-0.35, 0.35), rng.uniform(-0.12, 0.12), rng.choice((0, 0, 25, 45)))
            for _ in range(int(rng.integers(2, 6)))
        ]
        for begin in beats(n, p["rate"] * rng.uniform(0.7, 1.2), 0.35, rng, first=rng.uniform(0.03, 0.5)):
            at = begin
            for length, slope, bend, trill in notes:
                m = round(length * rng.uniform(0.9, 1.1) * RATE)
                turn = np.linspace(0, 1, m)
                curve = pitch * (1 + slope * (turn - 0.5) + bend * np.sin(2 * np.pi * turn))
                curve *= 1 + 0.05 * (trill > 0) * np.sin(2 * np.pi * trill * turn * length)
                chirp = tone(np.clip(curve, 1200, 7400), m, [1.0, 0.08, 0.02], rng)
                add(out, at, chirp * np.sin(np.pi * turn) ** 1.3 * (1 + 0.15 * wander(m, rng, 40)), gain * rng.uniform(0.6, 1))
                at += length + rng.uniform(0.015, 0.06)
    return out + 0.004 * noise(n, rng, band(200, 4000, 1, 0.5))


def crickets(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise crickets: chirps of a few wing strokes at 4 to 5 kHz, one near insect and several far ones."""
    out = np.zeros(n)
    for number in range(round(p["insects"])):
        pitch, near = p["pitch"] * rng.uniform(0.93, 1.07), 1.0 if number == 0 else rng.uniform(0.08, 0.35)
        strokes, stroke = int(rng.integers(3, 6)), rng.uniform(0.016, 0.024)
        for at in beats(n, p["rate"] * rng.uniform(0.9, 1.1), 0.05, rng, first=rng.uniform(0, 0.4)):
            for k in range(strokes):
                m = round(0.7 * stroke * RATE)
                pulse = (
                    tone(pitch * np.linspace(1.01, 0.985, m), m, [1.0, 0.12], rng) * np.sin(np.pi * np.linspace(0, 1, m)) ** 0.7
                )
                add(out, at + k * stroke, pulse, near * (0.5 + 0.5 * min(1, k / 2)))
    return out + 0.006 * noise(n, rng, band(2000, 6500, 1))


SOUNDS: Final = (
    ProceduralSound(
        "rain",
        rain,
        "rain|rainfall|raindrop|rain shower|downpour|drizzle",
        "{adjectives} rain falling on the {surface}",
        {
            "surface": Choice(
                {
                    "ground": "pavement street",
                    "roof": "rooftop tin metal",
                    "leaves": "leaf forest tree",
                    "window": "glass pane windowpane",
                }
            ),
            "intensity": Range(60, 900, "near drops/s", less="light gentle gently soft", more="heavy hard pouring"),
        },
        also="fall pour patter pelt drop shower water weather outdoor beat start begin",
        wet=0.05,
    ),
    ProceduralSound(
        "wind",
        wind,
        "wind|wind blow|wind gust|wind howl|breeze|gust",
        "{adjectives} wind blowing",
        {
            "gusts": Range(0.4, 1.3, "depth", less="steady", more="gusty gusting gust"),
            "howl": Range(
                0.05, 0.9, "share of whistling", less="soft gentle gently light", more="howling howl whistling whistle strong"
            ),
        },
        also="blow outdoor weather breeze air cold open tree field around",
        seconds=(2.0, 30.0),
        wet=0.0,
    ),
    ProceduralSound(
        "thunder",
        thunder,
        "thunder|thunder rumble|thunder clap|thunderclap|thunder roll|thunder crack",
        "{adjectives} thunder rolling",
        {
            "crack": Range(
                0.0, 1.5, "strength of the near crack", less="rumbling rumble low deep", more="cracking crack clap sharp"
            )
        },
        also="roll rolling sky storm stormy lightning rumble outdoor boom clap",
        seconds=(2.0, 15.0),
        wet=0.1,
    ),
    ProceduralSound(
        "water_drops",
        water_drops,
        "water drip|water drop|drip|dripping tap|dripping faucet|leaking faucet|leaking tap|faucet drip|tap drip|water droplet",
        "{adjectives} water dripping into a basin",
        {
            "rate": Range(0.8, 4.0, "drops/s", less="slow slowly", more="fast rapid quick"),
            "irregular": Range(0.02, 0.4, "share of the interval", less="regular rhythmic", more="irregular"),
            "pitch": Range(500, 1600, "Hz", less="low deep", more="high"),
        },
        also="water tap faucet sink basin leak puddle fall drip drop plink bucket metal",
        counted="rate",
        tail=0.3,
    ),
    ProceduralSound(
        "stream",
        stream,
        "stream|brook|creek|running water|water run|flowing water|water flow|water stream|running tap|tap run|faucet run",
        "{adjectives} stream of running water",
        {
            "bubbles": Range(80, 700, "per s", less="gentle gently trickling trickle small", more="rushing rush strong"),
            "pitch": Range(350, 900, "Hz, the low end", less="deep", more="bright"),
        },
        also="water run flow babble gurgle tap faucet sink brook creek river outdoor stone rock into pour",
        wet=0.08,
    ),
    ProceduralSound(
        "waves",
        waves,
        "ocean wave|sea wave|wave|surf|ocean|waves crashing",
        "{adjectives} ocean waves breaking on a shore",
        {"period": Range(3.5, 9.0, "s", less="quick choppy", more="slow slowly long")},
        also="ocean sea surf shore beach break crash roll wash water sand coast lap",
        seconds=(3.0, 30.0),
        wet=0.0,
    ),
    ProceduralSound(
        "fire",
        fire,
        "fire|fire crackle|crackling fire|campfire|fireplace|bonfire|burning wood|wood burn|log fire",
        "{adjectives} fire crackling",
        {"crackles": Range(6, 60, "per s", less="gentle gently calm small", more="lively large big")},
        also="crackle pop burn wood log flame camp hearth warm snap fireplace",
        wet=0.08,
    ),
    ProceduralSound(
        "birds",
        birds,
        "bird|bird chirp|birdsong|bird song|songbird|chirping birds|bird sing|bird tweet",
        "{adjectives} birds chirping",
        {
            "birds": Range(1, 5, "(rounded)", less="single lone", more="many"),
            "pitch": Range(2400, 5200, "Hz", less="low", more="high"),
            "rate": Range(0.4, 1.2, "motifs/s and bird", less="occasional", more="lively fast"),
        },
        also="chirp song sing tweet twitter songbird small tree outdoor spring dawn call forest melody bright cheerful",
        wet=0.12,
    ),
    ProceduralSound(
        "crickets",
        crickets,
        "cricket|cricket chirp|chirping crickets|night cricket",
        "{adjectives} crickets chirping at night",
        {
            "insects": Range(1, 7, "(rounded)", less="single lone", more="many"),
            "pitch": Range(3900, 5000, "Hz", less="low", more="high"),
            "rate": Range(1.2, 3.0, "chirps/s", less="slow slowly", more="fast rapid"),
        },
        also="chirp insect grass summer field outdoor meadow rhythmic warm",
        wet=0.05,
    ),
)
