"""Procedural sounds that call for attention: alarms, sirens, rings, bells, horns."""

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
    gate,
    noise,
    resonance,
    shaped,
    struck,
    tone,
    unit,
    wander,
)

CHURCH_BELL: Final = (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.66, 3.01, 4.17, 5.43)
"""Partials of a tuned bell: hum, prime, minor tierce, quint, nominal, …"""
FREE_BAR: Final = (1.0, 2.756, 5.404, 8.933)
"""Modes of a free bar, such as the chime of a doorbell."""


def _piezo(n: int, pitch: float, rng: np.random.Generator) -> Signal:
    """A piezo sounder driven by a square wave: odd partials in the resonances of the disc, slightly unstable."""
    curve = pitch * (1.0 + 0.0015 * wander(n, rng, 3.0))
    wave = tone(curve, n, [1.0, 0.06, 0.33, 0.04, 0.2, 0.02, 0.14], rng)
    disc = resonance((pitch, 400, 1.0), (rng.uniform(4000, 6000), 900, 0.5))
    return unit(shaped(wave, disc)) * (1.0 + 0.05 * wander(n, rng, 8.0)) + 0.02 * noise(n, rng, band(500, 6000))


def alarm(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise groups of electronic beeps; the pause after a group is as long as `pause` beeps."""
    period = 1.0 / p["rate"]
    group = p["count"] or round(p["group"])
    spans, at = [], 0.02
    while at < n / RATE:
        spans += [(begin, begin + p["duty"] * period) for begin in at + np.arange(group) * period]
        at += n / RATE if p["count"] else (group + (p["pause"] if group > 1 else 0.0)) * period
    return _piezo(n, p["pitch"], rng) * gate(n, spans, 0.003)


def smoke_alarm(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise the temporal-three pattern (ISO 8201): three half-second beeps half a second apart, then 1.5 s of pause."""
    unit_time = 0.5 / p["tempo"]
    spans = [
        (begin + k * 2 * unit_time, begin + (k * 2 + 1) * unit_time)
        for begin in np.arange(0.05, n / RATE, 8 * unit_time)
        for k in range(3)
    ]
    return _piezo(n, p["pitch"], rng) * gate(n, spans, 0.005)


def siren(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise an electronic siren in a horn loudspeaker: wail (slow sweeps), yelp (fast sweeps) or two tones."""
    time = np.arange(n) / RATE + rng.uniform(0, p["period"])
    period = p["period"] if p["style"] != "yelp" else p["period"] / 12.0
    turn = (time / period) % 1.0
    if p["style"] == "two-tone":
        sweep = np.convolve((turn < 0.5).astype(np.float64), np.ones(160) / 160, mode="same")
    else:
        rise = 0.45  # as a capacitor charges: faster up than down
        sweep = np.where(turn < rise, 1 - np.exp(-3 * turn / rise), np.exp(-2.2 * (turn - rise) / (1 - rise)))
    curve = p["low"] * (p["high"] / p["low"]) ** np.clip(sweep, 0, 1) * (1.0 + 0.002 * wander(n, rng, 2.0))
    wave = tone(curve, n, [1.0, 0.35, 0.45, 0.2, 0.22, 0.12, 0.1, 0.07], rng)
    horn = resonance((800, 900, 0.8), (1700, 900, 1.0), (3200, 800, 0.4))
    return unit(shaped(np.tanh(1.5 * wave), horn)) * (1.0 + 0.15 * wander(n, rng, 1.5)) + 0.01 * noise(n, rng, band(200, 4000))


def phone_ring(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a bell telephone (two gongs and a hammer) or an electronic warble of two notes, `on` and `off` in turn."""
    out = np.zeros(n)
    gongs = []
    for pitch in (p["pitch"], p["pitch"] * rng.uniform(1.15, 1.3)):
        ratios = np.array([1.0, 1.51, 2.29, 2.87, 3.71]) * (1 + 0.01 * rng.standard_normal(5))
        gongs.append(struck(RATE // 2, ratios * pitch, [0.9, 0.7, 0.5, 0.4, 0.3], [1, 0.7, 0.6, 0.4, 0.3], rng))
    for begin in np.arange(0.03, n / RATE, p["on"] + p["off"]):
        length = min(p["on"], n / RATE - begin)
        if p["style"] == "bell":
            for number, at in enumerate(beats(round(length * RATE), p["warble"], 0.03, rng)):
                add(out, begin + at, gongs[number % 2], rng.uniform(0.8, 1.2))
                add(out, begin + at, burst(160, rng, band(2000, 6000), 0.01), 0.4)
            continue
        m = round(length * RATE)
        high = (np.arange(m) / RATE * p["warble"]) % 1.0 < 0.5
        wave = tone(np.where(high, 1.25, 1.0) * p["pitch"], m, [1, 0.4, 0.3, 0.15, 0.1], rng)
        add(out, begin, shaped(wave, band(500, 3800)) * gate(m, [(0.0, length)], 0.01))
    return out


def doorbell(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a doorbell: two chime bars, the second `interval` semitones lower, again after `period` seconds."""
    out = np.zeros(n)
    for begin in np.arange(0.03, max(0.04, n / RATE - 0.8), p["period"]):
        for at, pitch in ((0.0, p["pitch"]), (p["gap"], p["pitch"] * 2 ** (-p["interval"] / 12))):
            ratios = np.array(FREE_BAR) * (1 + 0.004 * rng.standard_normal(4))
            for detune in (1.0, rng.uniform(1.0008, 1.003)):  # a bar has two close modes that beat
                bar = struck(
                    4 * RATE, ratios * pitch * detune, p["decay"] * np.array([1, 0.6, 0.3, 0.15]), [1, 0.4, 0.18, 0.08], rng
                )
                add(out, begin + at, bar)
            add(out, begin + at, burst(400, rng, band(300, 3000), 0.03), 0.5)
    return out


def bell(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise a tuned bell: beating pairs of inharmonic partials, of which the high ones decay first, and the blow."""
    out = np.zeros(n)
    ratios = np.array(CHURCH_BELL) * (1 + 0.003 * rng.standard_normal(len(CHURCH_BELL)))
    decays = p["decay"] * np.maximum(ratios, 0.5) ** -0.8
    for at in beats(n, p["rate"], 0.02, rng, count=p["count"]):
        amplitudes = np.array([0.5, 0.6, 0.7, 0.3, 1.0, 0.35, 0.3, 0.4, 0.25, 0.15]) * rng.uniform(0.6, 1.3, 10)
        length = min(n, round(1.2 * p["decay"] * RATE))
        for detune in (1.0, 1.0 + rng.uniform(0.0005, 0.002)):
            add(out, at, struck(length, ratios * p["pitch"] * detune, decays, amplitudes, rng))
        add(out, at, burst(800, rng, band(800, 6000), 0.04), 1.2)
    return out


def car_horn(n: int, p: Values, rng: np.random.Generator) -> Signal:
    """Synthesise two disc horns a third apart: many partials, an onset that rises in pitch, honks of `length` seconds."""
    spans = [(at, at + p["length"]) for at in beats(n, p["rate"], 0.1, rng, count=p["count"])]
    out = np.zeros(n)
    for begin, end in spans:
        m = round((end - begin) * RATE)
        onset = 1.0 - 0.06 * np.exp(-np.arange(m) / (0.03 * RATE))
        for pitch in (p["pitch"], p["pitch"] * 1.26):
            amplitudes = 1.0 / np.arange(1, 19) ** 0.7 * rng.uniform(0.6, 1.4, 18)
            wave = tone(pitch * onset * (1 + 0.002 * wander(m, rng, 6.0)), m, list(amplitudes), rng)
            add(out, begin, np.tanh(0.6 * wave) * gate(m, [(0.0, end - begin)], 0.012))
    return shaped(out, resonance((600, 500, 0.5), (2200, 1200, 1.0), (3600, 900, 0.6)))


_PITCH = {"less": "low deep", "more": "high shrill"}
_TEMPO = {"less": "slow slowly", "more": "fast rapid rapidly quick quickly"}
SOUNDS: Final = (
    ProceduralSound(
        "alarm",
        alarm,
        "alarm|beep|alarm clock|alarm beep|electronic alarm|timer|kitchen timer|microwave beep|monitor beep",
        "{adjectives} electronic alarm beeping",
        {
            "pitch": Range(700, 3400, "Hz", **_PITCH),
            "rate": Range(1.0, 6.0, "beeps/s", **_TEMPO),
            "duty": Range(0.35, 0.65, "share of the period that sounds"),
            "group": Range(1, 4, "beeps in a group (rounded)"),
            "pause": Range(1.0, 3.0, "periods between groups"),
        },
        also="electronic digital sharp piercing urgent warning insistent medical device appliance oven microwave bedside blare "
        "security start begin when done finish",
        counted="rate",
        tail=0.7,
    ),
    ProceduralSound(
        "smoke_alarm",
        smoke_alarm,
        "smoke alarm|smoke detector|fire alarm|smoke alarm beep|smoke detector alarm",
        "{adjectives} smoke alarm sounding three beeps and a pause",
        {"pitch": Range(2800, 3500, "Hz", **_PITCH), "tempo": Range(0.9, 1.1, "of the standard's")},
        also="electronic sharp piercing urgent warning insistent ceiling beep three triple blare sounding start begin",
        seconds=(2.0, 30.0),
    ),
    ProceduralSound(
        "siren",
        siren,
        "siren|police siren|ambulance siren|emergency siren|emergency vehicle siren|fire truck siren",
        "{adjectives} emergency {style} siren",
        {
            "style": Choice({"wailing": "wail", "yelp": "yelping", "two-tone": "hi-lo"}),
            "low": Range(450, 750, "Hz"),
            "high": Range(1150, 1700, "Hz", **_PITCH),
            "period": Range(2.5, 6.0, "s per sweep; a yelp is 12 times faster"),
        },
        also="police ambulance emergency vehicle fire truck car electronic urgent rise fall rising falling pitch tone pass past",
        wet=0.12,
    ),
    ProceduralSound(
        "phone_ring",
        phone_ring,
        "phone ring|telephone ring|cell phone ring|mobile phone ring|phone bell|ringtone",
        "{adjectives} telephone ringing, {style} ringer",
        {
            "style": Choice(
                {"bell": "old vintage rotary mechanical antique landline", "electronic": "digital modern cell mobile"}
            ),
            "pitch": Range(800, 1400, "Hz", **_PITCH),
            "warble": Range(14, 25, "strokes or alternations/s"),
            "on": Range(0.8, 2.0, "s"),
            "off": Range(0.8, 3.0, "s"),
        },
        also="ring ringer tone incoming call desk start begin",
    ),
    ProceduralSound(
        "doorbell",
        doorbell,
        "doorbell|door bell|door chime|doorbell chime|doorbell ring",
        "{adjectives} two-note doorbell chime",
        {
            "pitch": Range(500, 900, "Hz", **_PITCH),
            "interval": Range(3.0, 5.0, "semitones down"),
            "gap": Range(0.4, 0.8, "s between ding and dong", less="brisk", more="relaxed"),
            "decay": Range(1.0, 3.0, "s (60 dB)"),
            "period": Range(3.5, 8.0, "s"),
        },
        also="ding dong two note tone front door chime ring visitor press pressed electric",
        seconds=(1.2, 20.0),
    ),
    ProceduralSound(
        "bell",
        bell,
        "bell|church bell|bell toll|tower bell|bell ring|bell chime",
        "{adjectives} church bell tolling",
        {
            "pitch": Range(220, 900, "Hz of the prime", **_PITCH),
            "rate": Range(0.35, 1.5, "strokes/s", **_TEMPO),
            "decay": Range(2.0, 7.0, "s (60 dB, prime)"),
        },
        also="church tower toll ring chime bronze metal metallic large strike struck",
        seconds=(1.5, 30.0),
        counted="rate",
        tail=1.5,
    ),
    ProceduralSound(
        "car_horn",
        car_horn,
        "car horn|horn|honk|car honk|vehicle horn|truck horn|horn honk|car horn honk",
        "{adjectives} car horn honking",
        {
            "pitch": Range(330, 480, "Hz", **_PITCH),
            "rate": Range(0.6, 1.6, "honks/s", **_TEMPO),
            "length": Range(0.15, 0.55, "s", less="short brief", more="long"),
        },
        also="car vehicle truck honk impatient angry urgent traffic blast driver",
        seconds=(0.6, 20.0),
        counted="rate",
        tail=0.6,
        wet=0.12,
    ),
)
