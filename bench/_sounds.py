"""What bench/coherence knows of sounds: where each can be heard, whether it takes the listener over, whether it is steady.

The classes are those of public data sets (ESC-50, UrbanSound8K, the events and scenes of DCASE 2013, 2016 and TAU, FSD50K).
Where they can be heard was written down for this benchmark from what the words mean. It shares nothing with the tables the
planners use (`prompts/places.v1.yaml`, `schemas/taxonomy.py`), which are what is judged.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

SETTINGS: Final = frozenset("home office venue street station park farm forest shore".split())
_TABLE: Final = """
# ESC-50: animals
dog: home street park farm
rooster: farm
pig: farm
cow: farm
frog: park farm forest
cat: home street farm
hen: farm
flying insects: home park farm forest
sheep: farm
crow: street park farm forest
# ESC-50: natural soundscapes and water
rain: anywhere, steady
sea waves: shore, steady
crackling fire: home park forest, steady
crickets: park farm forest, steady
chirping birds: street park farm forest, steady
water drops: home office
wind: street station park farm forest shore, steady
pouring water: home office venue
toilet flush: home office venue
thunderstorm: anywhere, steady
# ESC-50: people
crying baby: home street station park, exclusive
sneezing: anywhere
clapping: home office venue
breathing: anywhere
coughing: anywhere
footsteps: anywhere
laughing: anywhere
brushing teeth: home
snoring: home
drinking: home office venue
# ESC-50: interior
door knock: home office, exclusive
mouse click: home office
keyboard typing: home office
creaking door: home office farm
can opening: home office park
washing machine: home, steady
vacuum cleaner: home office, steady
alarm clock: home, exclusive
clock tick: home office, steady
glass breaking: home office venue street, exclusive
# ESC-50: exterior
helicopter: street park farm forest shore
chainsaw: park farm forest
siren: street, exclusive
car horn: street, exclusive
engine: street station farm, steady
train: street station farm
church bells: street park farm
airplane: street park farm forest shore
fireworks: street park, exclusive
hand saw: home street farm
# UrbanSound8K
air conditioner: home office, steady
children playing: home street park
drilling: home office street
engine idling: street station farm, steady
gun shot: street farm forest, exclusive
jackhammer: street
street music: street station park
# DCASE 2013 and 2016: events
cutlery: home venue
dishes: home venue
drawer: home office
phone ringing: home office, exclusive
printer: office
keys: home office street
page turning: home office
cupboard: home
tap running: home office
speech: anywhere, exclusive
# DCASE and TAU: scenes
busy street ambience: street, steady
park ambience: park, steady
office ambience: office, steady
home ambience: home, steady
restaurant ambience: venue, steady
beach ambience: shore, steady
forest path ambience: forest, steady
railway station ambience: station, steady
# AudioSet: music and its public
guitar: home venue street park
piano: home venue
drums: home venue
violin: home venue street
trumpet: venue street
choir: venue
singing: anywhere
applause: venue
cheering: venue street park
flute: home venue street
# FSD50K and AudioSet
accordion: home venue street
announcement: station, exclusive
basketball: street park
bathtub filling: home
bees: home park farm forest
bicycle bell: street park
billiards: venue
blender: home venue
boiling: home
burping: home venue
bus: street station
camera: anywhere
car passing by: street
cash register: venue street
chewing: home office venue
coin: anywhere
coffee machine: home office venue
cork popping: home venue
cowbell: farm
crumpling: home office
doorbell: home, exclusive
duck: park farm
electric shaver: home
elevator: office venue station
engine starting: street farm station
escalator: venue station
explosion: street, exclusive
frying: home venue
gasp: anywhere
giggle: anywhere
goat: farm
gull: shore
hair dryer: home
hammer: home street farm
harmonica: home venue street park
horse: street farm
lawn mower: home park
marimba: home venue
microwave oven: home office
motorcycle: street
outboard motor: shore
owl: park farm forest
packing tape: home office
photocopier: office
race car: street
rowing: shore
running: anywhere
scissors: home office
scream: anywhere, exclusive
seal: shore
ship horn: shore, exclusive
skateboard: street park
sliding door: home office station
smoke alarm: home office, exclusive
snare drum: home venue
stapler: home office
stream: park forest, steady
subway: station
tambourine: home venue street
tearing: home office
tractor: farm
traffic noise: street, steady
truck: street
typewriter: home office
whispering: anywhere, exclusive
wind chime: home park
wolf howl: forest
writing: home office
zipper: anywhere
rain on leaves: park forest, steady
surf: shore, steady
wind in trees: park farm forest, steady
ventilation hum: home office station, steady
crowd murmur: venue station, steady
"""
_HELD_OUT_TABLE: Final = """
# In the manner of the Universal Category System
propeller plane: street park farm forest shore
bowling alley: venue
slot machine: venue
parrot squawk: home forest
fishing reel: shore park forest
canoe paddle: shore forest
ceramic cup: home office venue
wall clock chime: home
cuckoo clock: home
modem: home office
hard disk: office home
walkie talkie: street station, exclusive
football chant: venue street
shoveling dirt: farm park
garage door: home street
gate creak: home farm park
window opening: home office
electric spark: anywhere
transformer hum: street station, steady
barbecue sizzle: home park
popcorn: home venue
soda can: home office park street
wine glass: home venue
ice cubes: home venue
horse carriage: street farm
reversing beeper: street
air horn: street venue, exclusive
pressure washer: home street
cement mixer: street
sewing machine: home
cash drawer: venue street
fan heater: home office, steady
ping pong: home venue park
tennis rally: park
golf swing: park
ice skating: park venue
skiing: forest
sled dogs: forest
banjo: home venue
music box: home
orchestra tuning: venue
river rapids: forest, steady
lake lapping: shore park forest, steady
hail: anywhere, steady
blizzard: street farm forest, steady
dry leaves: park forest
tree falling: forest
freight train: station farm street
tram bell: street
ticket gate: station
toy train: home
rubber duck: home
scooter passing: street park
garbage truck: street
baby babble: home park
kids shouting: home street park
protest march: street, exclusive
whale song: shore
pigeon flapping: street park farm
swan: park
donkey bray: farm
bat squeak: forest
fountain: park street, steady
sprinkler: home park
smoke detector: home office, exclusive
burglar alarm: home office street, exclusive
lift ding: office venue station
hotel lobby ambience: venue, steady
airport ambience: station, steady
farmyard ambience: farm, steady
kitchen ambience: home, steady
harbour ambience: shore, steady
city ambience: street, steady
jungle ambience: forest, steady
speech: anywhere, exclusive
"""
_ENDINGS = re.compile(r"(?<=\w\w)(ing|ed|es|s|e)$")


class Known(NamedTuple):
    """One class of sound."""

    settings: frozenset[str]
    """Where it can be heard."""
    exclusive: bool
    """It takes the listener over: it cannot be the backdrop of something else."""
    steady: bool
    """It has no beginning and no end, as the constant sound of a place has none."""


def _read(table: str) -> dict[str, Known]:
    known = {}
    for line in table.strip().splitlines():
        if not line.startswith("#"):
            label, _, told = line.partition(": ")
            places, *flags = told.split(", ")
            settings = SETTINGS if places == "anywhere" else frozenset(places.split())
            assert settings <= SETTINGS and set(flags) <= {"exclusive", "steady"}, line
            known[label] = Known(settings, "exclusive" in flags, "steady" in flags)
    return known


PUBLIC, HELD_OUT = "public", "held out"
SETS: Final = {PUBLIC: _read(_TABLE), HELD_OUT: _read(_HELD_OUT_TABLE)}
"""The words of PUBLIC were seen when the planner's tables were last extended, those of HELD_OUT were not."""
SOUNDS: Final = SETS[PUBLIC] | SETS[HELD_OUT]


def known(text: str) -> str:
    """The class a free text names, the one with most words of several; empty for none."""
    said = _stems(text)
    named = [label for label in SOUNDS if _stems(label) <= said]
    return max(named, key=lambda label: (len(label.split()), label), default="")


def _stems(text: str) -> frozenset[str]:
    """Words without their endings: cry and crying are one."""
    return frozenset(_ENDINGS.sub("", word) for word in re.findall(r"[a-z]+", text.lower()))
