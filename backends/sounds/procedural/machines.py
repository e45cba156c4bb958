"""Procedural sounds of machines: hums, fans, engines, passing cars."""

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
    band,
    grains,
    noise,
    resonance,
    shaped,
    struck,
    tone,
    unit,
    wander,
)


def hum(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a transformer or appliance: even partials of the mains, each with its own drift, over faint broadband noise."""
    mains = {"50 Hz": 50.0, "60 Hz": 60.0}[p["mains"]] * (1 + 0.0005 * wander(n, rng, 0.3))
    out = np.zeros(n)
    for number in range(1, 25):
        amplitude = (1.0 if number % 2 == 0 else 0.3) * number ** -(2.2 - 1.4 * p["buzz"]) * rng.uniform(0.4, 1.6)
        out += tone(mains * number, n, [amplitude], rng) * (1.0 + 0.2 * wander(n, rng, rng.uniform(0.3, 2.0)))
    return unit(out) + 0.12 * noise(n, rng, band(80, 1500, 1, 0.5))


def fan(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a fan: broadband noise in the resonances of a duct, blade tones and a whine that drift with the speed."""
    drift = 1.0 + 0.004 * wander(n, rng, 0.6)
    blades = tone(p["blade"] * drift, n, [1, 0.6, 0.35, 0.25, 0.15, 0.1], rng)
    whine = tone(p["blade"] * rng.uniform(6.5, 9.5) * drift, n, [1, 0.3, 0.15], rng)
    duct = resonance(*((rng.uniform(200, 3500), rng.uniform(150, 700), rng.uniform(0.4, 1.2)) for _ in range(5)))
    air = unit(shaped(noise(n, rng, band(80, 5000, 1, 0.4)), duct)) * (1 + 0.08 * wander(n, rng, 4.0))
    fan: Signal = air + p["tonality"] * (unit(blades) + 0.5 * unit(whine))
    return fan


def _firing(n: int, rate: Signal, cylinders: int, rng: np.random.Generator) -> Signal:
    """Combustion pulses at `rate` per second: cylinders differ, and every cycle slightly."""
    turns = np.cumsum(rate) / RATE
    places = np.searchsorted(turns, np.arange(1, int(turns[-1]) + 1))
    places = np.clip(places + np.rint(rng.normal(0, 0.00025 * RATE, places.size)).astype(np.intp), 0, n - 1)
    strength = rng.uniform(0.75, 1.25, cylinders)[np.arange(places.size) % cylinders] * rng.normal(1, 0.08, places.size)
    modes = rng.uniform(0.9, 1.1, 4) * np.array([95, 240, 520, 1400])
    exhaust = struck(RATE // 5, modes, [0.09, 0.05, 0.03, 0.01], [1, 0.8, 0.5, 0.3], rng)
    breath = np.exp(-np.arange(RATE // 20) / (0.008 * RATE))
    pulse = grains(n, places, [exhaust], strength, rng)
    hiss = noise(n, rng, band(200, 4000, 1, 0.5)) * grains(n, places, [breath], strength, rng)
    return unit(pulse) + 0.35 * unit(hiss)


def engine_idle(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise an idling four-stroke engine: slightly varying rpm, uneven cylinders, exhaust resonances, valve clatter."""
    cylinders = round(p["cylinders"])
    rpm = p["rpm"] * (1 + 0.012 * wander(n, rng, 1.2))
    engine = _firing(n, rpm / 120.0 * cylinders, cylinders, rng)
    return engine + 0.06 * noise(n, rng, band(1200, 5000, 1)) * (1 + 0.3 * wander(n, rng, 12.0))


def pass_by(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a passing car: 1/r, the Doppler shift of engine and tyres, high frequencies only when it is near."""
    time = np.arange(n) / RATE - rng.uniform(0.42, 0.58) * n / RATE
    speed = p["speed"] / 3.6
    distance = np.sqrt(p["metres"] ** 2 + (speed * time) ** 2)
    doppler = 1.0 / (1.0 + speed * speed * time / distance / 343.0)
    near = p["metres"] / distance
    engine = _firing(n, rng.uniform(55, 90) * doppler, 4, rng)
    low, high = noise(n, rng, band(60, 700, 1, 0.3)), noise(n, rng, band(700, 3000, 1))
    tyre = tone(rng.uniform(700, 1100) * doppler * (1 + 0.02 * wander(n, rng, 15)), n, [1.0, 0.4], rng)
    road = 0.9 * low * near + 1.1 * high * near**1.5 + 0.15 * tyre * near**1.5
    car: Signal = road * (1 + 0.1 * wander(n, rng, 6.0)) + 0.6 * engine * near
    return car


SOUNDS: Final = (
    ProceduralSound(
        "hum",
        hum,
        "hum|electric hum|electrical hum|transformer hum|refrigerator hum|fridge|appliance hum|electrical buzz",
        "{adjectives} electrical hum",
        {
            "mains": Choice({"50 Hz": "", "60 Hz": ""}),
            "buzz": Range(0.0, 1.0, "share of high partials", less="smooth", more="buzzing buzz"),
        },
        also="electric electrical transformer refrigerator fridge appliance mains power machine low drone fluorescent",
        wet=0.1,
    ),
    ProceduralSound(
        "fan",
        fan,
        "fan|air conditioner|ventilation|exhaust fan|air conditioning",
        "{adjectives} electric fan running",
        {
            "blade": Range(70, 320, "Hz, blade passing", less="low deep", more="high"),
            "tonality": Range(0.05, 0.5, "tones against air", less="breathy airy", more="whining whine"),
        },
        also="electric running whir whirr hum motor blow air spinning ceiling machine appliance system unit on",
        wet=0.12,
    ),
    ProceduralSound(
        "engine_idle",
        engine_idle,
        "engine|engine idle|car engine|motor idle|idling engine|truck engine|idling car|idling truck",
        "{adjectives} car engine idling",
        {
            "rpm": Range(600, 1100, "1/min", less="slow low", more="fast"),
            "cylinders": Range(3, 8, "(rounded)"),
        },
        also="car truck vehicle motor idle running parked stationary diesel rumble rough curb",
        wet=0.1,
    ),
    ProceduralSound(
        "pass_by",
        pass_by,
        "car pass|car drive|vehicle pass|passing car|passing vehicle|car pass by|traffic pass",
        "{adjectives} car passing by on a road",
        {
            "speed": Range(30, 110, "km/h", less="slow slowly", more="fast quick quickly speeding"),
            "metres": Range(3, 15, "at the nearest point"),
        },
        also="car vehicle drive pass road street asphalt by past wet tyre tire",
        seconds=(3.0, 15.0),
        wet=0.05,
    ),
)
