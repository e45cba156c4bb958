"""Currencies and units in writing: the symbols and codes that stand for them, and their names in English and Mandarin.

Units are read by a small grammar of SI prefixes, base units, exponents, products and quotients, so `kWh/m²` needs no entry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple


class Currency(NamedTuple):
    """The names of a currency. English names are (singular, plural); a `part` is a hundredth, empty if there is none in use."""

    unit: tuple[str, str]
    part: tuple[str, str]
    mandarin: str
    mandarin_part: str


def _currencies(table: str) -> dict[str, Currency]:
    found = {}
    for line in table.strip().splitlines():
        symbols, unit, part, mandarin, mandarin_part = (cell.strip() for cell in line.split("|"))
        for symbol in symbols.split():
            found[symbol] = Currency(_forms(unit), _forms(part), mandarin, mandarin_part)
    return found


def _forms(name: str) -> tuple[str, str]:
    """Return singular and plural of `dollar*` (plural s), `penny/pence` or `yen` (no plural)."""
    singular, _, plural = name.partition("/")
    return singular.replace("*", ""), plural or singular.replace("*", "s")


CURRENCIES: Final = _currencies("""
    $ USD             | dollar*             | cent*             | 美元     | 美分
    US$ U.S.$         | US dollar*          | cent*             | 美元     | 美分
    A$ AU$ AUD        | Australian dollar*  | cent*             | 澳元     | 澳分
    C$ CA$ CAD        | Canadian dollar*    | cent*             | 加元     | 加分
    NZ$ NZD           | New Zealand dollar* | cent*             | 新西兰元 | 分
    HK$ HKD           | Hong Kong dollar*   | cent*             | 港元     | 港仙
    S$ SG$ SGD        | Singapore dollar*   | cent*             | 新加坡元 | 分
    NT$ TWD           | New Taiwan dollar*  | cent*             | 新台币   | 分
    MX$ MXN           | Mexican peso*       | centavo*          | 墨西哥比索 | 分
    R$ BRL            | Brazilian real/Brazilian reais | centavo* | 雷亚尔 | 分
    € EUR             | euro*               | cent*             | 欧元     | 欧分
    £ GBP             | pound*              | penny/pence       | 英镑     | 便士
    ¥ ￥ CN¥ CNY RMB  | yuan                | fen               | 元       | 分
    JP¥ JPY           | yen                 |                   | 日元     |
    ₹ Rs. Rs INR      | rupee*              | paisa/paise       | 卢比     | 派萨
    ₽ RUB             | ruble*              | kopek*            | 卢布     | 戈比
    ₩ KRW             | won                 |                   | 韩元     |
    ₺ TRY             | lira                | kurus             | 里拉     | 库鲁什
    ₫ VND             | dong                |                   | 越南盾   |
    ₴ UAH             | hryvnia*            | kopiyka/kopiyky   | 格里夫纳 | 戈比
    ₪ ILS             | shekel*             | agora/agorot      | 谢克尔   | 阿高洛
    ₱ PHP             | peso*               | centavo*          | 比索     | 分
    ฿ THB             | baht                | satang            | 泰铢     | 萨当
    ₦ NGN             | naira               | kobo              | 奈拉     | 考包
    RM MYR            | ringgit             | sen               | 林吉特   | 仙
    CHF               | Swiss franc*        | centime*          | 瑞士法郎 | 生丁
    zł PLN            | zloty*              | grosz/groszy      | 兹罗提   | 格罗希
    Kč CZK            | Czech koruna*       | haler*            | 捷克克朗 | 哈莱士
    kr                | krona/kronor        | ore               | 克朗     | 欧尔
    SEK               | Swedish krona/Swedish kronor     | ore  | 瑞典克朗 | 欧尔
    NOK               | Norwegian krone/Norwegian kroner | ore  | 挪威克朗 | 欧尔
    DKK               | Danish krone/Danish kroner       | ore  | 丹麦克朗 | 欧尔
    ZAR               | rand                | cent*             | 兰特     | 分
    ₿ BTC             | bitcoin*            |                   | 比特币   |
""")  # fmt: skip
"""Symbol or ISO 4217 code → currency. A bare `¥` is the yen in English (`ENGLISH_YEN`) and the yuan in Mandarin."""
ENGLISH_YEN: Final = CURRENCIES["JPY"]
CENTS: Final = "¢"

_PREFIXES: Final = {
    "p": ("pico", "皮"), "n": ("nano", "纳"), "μ": ("micro", "微"), "m": ("milli", "毫"), "c": ("centi", "厘"),
    "d": ("deci", "分"), "h": ("hecto", "百"), "k": ("kilo", "千"), "K": ("kilo", "千"), "M": ("mega", "兆"),
    "G": ("giga", "吉"), "T": ("tera", "太"), "P": ("peta", "拍"),
}  # fmt: skip
_BASES: Final = """
    m   | meter*        | 米     | nμmcdk
    g   | gram*         | 克     | nμmk
    s   | second*       | 秒     | pnμm
    L   | liter*        | 升     | μmcd
    l   | liter*        | 升     | μmcd
    Hz  | hertz         | 赫兹   | kMGT
    W   | watt*         | 瓦     | mkMGT
    Wh  | watt hour*    | 瓦时   | kMGT
    V   | volt*         | 伏     | μmk
    A   | amp*          | 安     | μmk
    Ah  | amp hour*     | 安时   | m
    J   | joule*        | 焦     | kMG
    N   | newton*       | 牛     | mk
    Pa  | pascal*       | 帕     | hkMG
    B   | byte*         | 字节   | kKMGTP
    b   | bit*          | 比特   | kKMG
    bps | bit* per second | 比特每秒 | kKMG
    cal | calorie*      | 卡     | k
    eV  | electronvolt* | 电子伏 | kMGT
    Ω   | ohm*          | 欧     |
    F   | farad*        | 法     | pnμ
    mol | mole*         | 摩尔   | mμ
    lm  | lumen*        | 流明   |
    lx  | lux           | 勒克斯 | k
    Sv  | sievert*      | 西弗   | mμ
    bar | bar*          | 巴     | m
"""
_OTHERS: Final = """
    mi  | mile*         | 英里
    ft  | foot/feet     | 英尺
    in  | inch/inches   | 英寸
    ″   | inch/inches   | 英寸
    yd  | yard*         | 码
    nmi | nautical mile* | 海里
    kn  | knot*         | 节
    ha  | hectare*      | 公顷
    sq ft | square foot/square feet | 平方英尺
    sq m  | square meter*     | 平方米
    sq km | square kilometer* | 平方公里
    sq mi | square mile*      | 平方英里
    cu ft | cubic foot/cubic feet | 立方英尺
    lb  | pound*        | 磅
    lbs | pound*        | 磅
    oz  | ounce*        | 盎司
    fl oz | fluid ounce* | 液量盎司
    gal | gallon*       | 加仑
    tsp | teaspoon*     | 茶匙
    tbsp | tablespoon*  | 汤匙
    mcg | microgram*    | 微克
    cc  | cubic centimeter* | 毫升
    t   | ton*          | 吨
    min | minute*       | 分钟
    mins | minute*      | 分钟
    sec | second*       | 秒
    secs | second*      | 秒
    h   | hour*         | 小时
    hr  | hour*         | 小时
    hrs | hour*         | 小时
    d   | day*          | 天
    wk  | week*         | 周
    wks | week*         | 周
    mo  | month*        | 个月
    yr  | year*         | 年
    yrs | year*         | 年
    mph | mile* per hour | 英里每小时
    kph | kilometer* per hour | 公里每小时
    mpg | mile* per gallon | 英里每加仑
    rpm | revolution* per minute | 转每分钟
    bpm | beat* per minute | 次每分钟
    fps | frame* per second | 帧每秒
    dpi | dot* per inch | 点每英寸
    ppm | part* per million | ppm
    ppb | part* per billion | ppb
    psi | pound* per square inch | 磅每平方英寸
    mmHg | millimeter* of mercury | 毫米汞柱
    hp  | horsepower    | 马力
    px  | pixel*        | 像素
    kΩ  | kilohm*       | 千欧
    MΩ  | megohm*       | 兆欧
    dB  | decibel*      | 分贝
    dBm | decibel-milliwatt* | 分贝毫瓦
    KiB | kibibyte*     | 千字节
    MiB | mebibyte*     | 兆字节
    GiB | gibibyte*     | 吉字节
    TiB | tebibyte*     | 太字节
    K   | kelvin        | 开尔文
    °C  | degree* Celsius | 摄氏度
    °F  | degree* Fahrenheit | 华氏度
    °   | degree*       | 度
    %   | percent       |
    ‰   | per mille     |
"""
_RENAMED: Final = {"km": "公里", "kg": "公斤", "MHz": "兆赫", "GHz": "吉赫", "kHz": "千赫", "kcal": "千卡", "g": "克"}
"""Mandarin names that are not prefix + base."""
COMPOUND_ONLY: Final = frozenset({"A", "B", "F", "N", "K", "b", "d", "in", "P", "mo"})
"""Symbols that are units only within a product or quotient, since alone they more often mean something else."""
_LENGTHS: Final = re.compile(r"[nμmcdk]?m|mi|ft|in|yd")
"""Units whose square and cube are `square meters` and `cubic meters`; others are squared and cubed."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit in words."""

    singular: str
    plural: str
    mandarin: str


def _units() -> dict[str, Unit]:
    found = {}
    for line in _BASES.strip().splitlines():
        symbol, name, mandarin, prefixes = (cell.strip() for cell in line.split("|"))
        found[symbol] = Unit(*_forms(name), mandarin)
        for prefix in prefixes:
            english, chinese = _PREFIXES[prefix]
            found[prefix + symbol] = Unit(*_forms(english + name), _RENAMED.get(prefix + symbol, chinese + mandarin))
    for line in _OTHERS.strip().splitlines():
        symbol, name, mandarin = (cell.strip() for cell in line.split("|"))
        found[symbol] = Unit(*_forms(name), mandarin)
    return found


UNITS: Final = _units()
_SYMBOL: Final = "|".join(re.escape(symbol) for symbol in sorted(UNITS, key=len, reverse=True))
_ALONE: Final = "|".join(re.escape(symbol) for symbol in sorted(UNITS.keys() - COMPOUND_ONLY, key=len, reverse=True))
_POWER: Final = r"(?:\^-?[1-4]|(?<=m)[23](?!\d)|)"
_FURTHER: Final = rf"(?:[·⋅*](?:{_SYMBOL}){_POWER}|[ ](?:{_SYMBOL})\^-[12])"
_OVER: Final = rf"(?:\s?/\s?(?:10{{1,3}}\s?)?(?:{_SYMBOL}){_POWER})"
PERIODS: Final = (
    "second|minute|hour|day|night|week|month|quarter|year|person|head|piece|unit|share|user|student|mile|kilometer|kilogram|pound|"
    "gallon|liter|page|word|ticket|seat|visit|game|ride"
)
"""English words that make a rate behind a slash: `$5/day`."""
_END: Final = rf"(?![A-Za-z\d^·]|/(?!(?:{PERIODS})\b)[A-Za-z])"
_PRODUCT: Final = rf"(?:{_SYMBOL}){_POWER}{_FURTHER}"
UNIT: Final = rf"(?:{_PRODUCT}*{_OVER}+|{_PRODUCT}+|(?:{_ALONE}){_POWER}){_END}"
"""Pattern of a unit in writing, such as `km`, `m^2`, `kg·m/s^2`, `L/100 km`, `m s^-1`. Superscripts are written with `^`."""
PER: Final = rf"(?:\s?/\s?(?:10{{1,3}}\s?)?(?:{_ALONE}|d|mo){_POWER})+{_END}"
"""Pattern of the part of a unit that begins with a slash: `/h`, `/kg`."""
_FACTOR: Final = re.compile(rf"(?P<over>\s?/\s?)?(?P<count>\d+)?\s?[·⋅*]?(?P<symbol>{_SYMBOL})(?:\^?(?P<power>-?\d))?")


class Factor(NamedTuple):
    """A factor of a unit: `unit` to the `power`. In a denominator, `is_per` is set and `multiple` may be given (`/100 km`)."""

    unit: Unit
    power: int
    is_per: bool
    multiple: str
    is_length: bool

    @property
    def english(self) -> tuple[str, str]:
        """Singular and plural: `square meter`, `square meters`."""
        names = (self.unit.singular, self.unit.plural)
        if self.power < 2:
            return names
        if self.is_length and self.power <= 3:
            return (
                f"{'square' if self.power == 2 else 'cubic'} {names[0]}",
                f"{'square' if self.power == 2 else 'cubic'} {names[1]}",
            )
        power = {2: "squared", 3: "cubed"}.get(self.power, "to the power of four")
        return (f"{names[0]} {power}", f"{names[1]} {power}")

    @property
    def mandarin(self) -> str:
        """Name with its power: `平方米`, `二次方秒`."""
        if self.power < 2:
            return self.unit.mandarin
        power = {2: "平方", 3: "立方"}.get(self.power) if self.is_length else None
        power = power or f"{'二三四'[self.power - 2]}次方"
        return power + self.unit.mandarin


def factors(text: str) -> list[Factor]:
    """Return the factors of a unit that matches `UNIT` or `PER`."""
    found = []
    for match in _FACTOR.finditer(text):
        power = int(match["power"] or 1)
        is_per = bool(match["over"]) or power < 0
        symbol = match["symbol"]
        found.append(Factor(UNITS[symbol], abs(power), is_per, match["count"] or "", bool(_LENGTHS.fullmatch(symbol))))
    return found
