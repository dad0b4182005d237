"""Receipts that look like real ones, in six layouts, each with the truth about it. One seed, one set of receipts.
Knows nothing of who reads them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, TypeAlias

Row: TypeAlias = tuple[str, int, int]
"""What was bought, how many, and the price of one in cents."""

SYMBOLS: Final = {"GBP": "£", "USD": "$", "EUR": "€", "CHF": "CHF"}
SHOPS: Final = ("Northgate Grocers", "Hollis & Daughters", "The Paper Lantern", "Quayside Hardware", "Bright Larder")
FIRMS: Final = (
    "Aldous Surveying Ltd",
    "Penrose Joinery Ltd",
    "Vantage Print Inc",
    "Corvid Data Ltd",
    "Mill Lane Optics",
)
WEBSHOPS: Final = ("Threadbare", "Kettle and Co", "Oak & Anvil Ltd", "Lumen Books", "Pedal Parts Inc")
MARKETS: Final = ("Blumen Wagner", "Feinkost Adler GmbH", "Baumarkt Reuter GmbH", "Papeterie Lang", "Kern Elektro GmbH")
DINERS: Final = ("Rosie's Diner", "The Copper Pot", "Harbor Grill", "Blue Plate Cafe", "Canyon Tacos Inc")
STATIONS: Final = ("Alpen Tank AG", "Seeblick Garage", "Passhof Energie AG", "Rhonetal Benzin", "Gotthard Oil AG")
WARES: Final = (
    "Oat milk",
    "Coffee beans",
    "Steel bracket",
    "Notebook A5",
    "Desk lamp",
    "Wool socks",
    "Green tea",
    "Tape",
)
WORKS: Final = ("Site survey", "Drawings", "Fitting, per day", "Printing, colour", "Data recovery", "Licence, one year")
DISHES: Final = ("Burger", "Pancakes", "House salad", "Fish tacos", "Lemonade", "Coffee", "Apple pie", "Club sandwich")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a reader should find."""

    merchant: str
    date: str
    """As YYYY-MM-DD."""
    currency: str
    """ISO 4217 code."""
    total: float
    """What was to be paid, in the currency's main unit."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt."""

    id: str
    layout: str
    text: str
    truth: Truth


def receipts(count: int = 200, seed: int = 20) -> list[Receipt]:
    """The receipts of this seed, layouts in turn."""
    rng = random.Random(seed)  # noqa: S311 - the same receipts each time is the point
    made = []
    for number in range(count):
        layout, draw = LAYOUTS[number % len(LAYOUTS)]
        day = date(2026, 1, 1) + timedelta(days=rng.randrange(300))
        text, truth = draw(rng, day)
        made.append(Receipt(f"r{number + 1:03}", layout, text, truth))
    return made


def till(rng: random.Random, day: date) -> tuple[str, Truth]:
    """A shop's till roll: centred head, prices at the right edge, sometimes cash given and change."""
    shop, rows = rng.choice(SHOPS), _rows(rng, WARES, 150, 4_000)
    total = _sum(rows)
    lines = [shop.upper().center(38), f"{rng.randrange(1, 90)} Market Street".center(38)]
    if rng.random() < 0.3:
        lines.append(f"Tel. 0117-{rng.randrange(32, 99)}-{rng.randrange(1_000, 9_999)}".center(38))
    sign = rng.choice("££ ")
    lines += [f"{day:%d/%m/%Y} 14:{rng.randrange(10, 60)}", *(["Prices in GBP"] if sign == " " else [])]
    lines += ["-" * 38, *(_edge(f"{many} x {what}", _plain(many * price)) for what, many, price in rows), "-" * 38]
    lines.append(_edge("SUBTOTAL", _plain(total)))
    lines.append(_edge(rng.choice(("TOTAL", "TOTAL TO PAY", "BALANCE DUE")), f"{sign}{_plain(total)}"))
    if rng.random() < 0.5:
        given = (total // 1_000 + 1) * 1_000
        lines += [_edge("CASH", _plain(given)), _edge("CHANGE", _plain(given - total))]
    else:
        lines.append(_edge("CARD", _plain(total)))
    return "\n".join([*lines, "Thank you, come again".center(38)]), _truth(shop, day, "GBP", total)


def invoice(rng: random.Random, day: date) -> tuple[str, Truth]:
    """A firm's letter: the date in words, thousands separated, the firm's name in the sentence at the end or the head."""
    firm, rows = rng.choice(FIRMS), _rows(rng, WORKS, 9_000, 240_000)
    net = _sum(rows)
    total = net + net // 5
    head = [firm] if rng.random() < 0.6 else ["INVOICE", firm]
    lines = [*head, f"Invoice no. {rng.randrange(1_000, 9_999)}-{day.year}", "", f"Date: {day.day} {day:%B %Y}", ""]
    lines.append("Dear customer, for our work we invoice:")
    lines += [f"  {what:<24}{many:>3} x {_comma(price):>10} {_comma(many * price):>12}" for what, many, price in rows]
    lines += ["", f"  {'Net':<39}{_comma(net):>12}", f"  {'VAT 20%':<39}{_comma(net // 5):>12}"]
    due = rng.choice(("Amount due", "Total", "Please pay"))
    lines += [
        f"  {due:<35}GBP {_comma(total):>12}",
        "",
        f"Payment within {rng.choice((14, 30))} days, with thanks from {firm}.",
    ]
    if rng.random() < 0.25:
        lines.append("Bank charges from abroad: EUR 12.00 in the euro area, EUR 25.00 elsewhere.")
    return "\n".join(lines), _truth(firm, day, "GBP", total)


def email(rng: random.Random, day: date) -> tuple[str, Truth]:
    """A web shop's confirmation: mail headers, sentences, a total in the middle of one or on a line of its own."""
    shop, rows = rng.choice(WEBSHOPS), _rows(rng, WARES, 900, 60_000)
    goods, shipping = _sum(rows), rng.choice((0, 495, 1_250))
    total = goods + shipping
    lines = [f"From: {shop} <orders@shop.example>", f"Date: {day:%a, %d %b %Y} 09:12:44 +0000"]
    lines += [
        f"Subject: Your receipt from {shop}{rng.choice(('', '', f', order {rng.randrange(1_000, 9_999)}'))}",
        "",
        "Hi, thanks for your order. You bought:",
    ]
    lines += [f"* {what}, {many} at ${_comma(price)}" for what, many, price in rows]
    lines += [f"Shipping: ${_comma(shipping)}" if shipping else "Shipping is free."]
    said = f"Order total: ${_comma(total)}"
    if rng.random() < 0.4:
        said = f"We charged your card ${_comma(total)} in all."
    lines.append(said)
    if rng.random() < 0.5:
        lines.append("Spend $5,000.00 more this year and shipping is always free.")
    return "\n".join([*lines, "", "Kind regards,", f"{shop} team"]), _truth(shop, day, "USD", total)


def table(rng: random.Random, day: date) -> tuple[str, Truth]:
    """A German till's table: columns, points for thousands and a decimal comma."""
    market, rows = rng.choice(MARKETS), _rows(rng, WARES, 800, 90_000)
    total = _sum(rows)
    lines = [market.center(46), "Kassenbon".center(46), f"Datum {day:%d.%m.%Y}".rjust(46), "=" * 46]
    lines += [f"| {what:<20}|{many:>4} |{_german(many * price):>15} |" for what, many, price in rows]
    lines += ["=" * 46, _edge("Summe EUR" if rng.random() < 0.6 else "Gesamt EUR (Total)", _german(total), 46)]
    if rng.random() < 0.5:
        lines.append(_edge("davon MwSt 19%", _german(total * 19 // 119), 46))
    if rng.random() < 0.3:
        lines.append("Wir nehmen auch CHF".center(46))
    return "\n".join([*lines, "Vielen Dank!".center(46)]), _truth(market, day, "EUR", total)


def diner(rng: random.Random, day: date) -> tuple[str, Truth]:
    """An American guest check: month first, a discount, a tip, and an offer of other tips at the end."""
    name, rows = rng.choice(DINERS), _rows(rng, DISHES, 350, 2_600)
    food = _sum(rows)
    off = food // 10 if rng.random() < 0.4 else 0
    tip = (food - off) * 18 // 100
    total = food - off + tip
    lines = ["*** GUEST CHECK ***".center(34)] * (rng.random() < 0.5)
    lines += [name.center(34), f"Table {rng.randrange(1, 30)}   {day:%m/%d/%Y}", ""]
    lines += [_edge(f"{many} {what}", _plain(many * price), 34) for what, many, price in rows]
    lines += ["", _edge("Subtotal", _plain(food), 34), *([_edge("Discount 10%", f"-{_plain(off)}", 34)] if off else [])]
    lines += [_edge("Tip 18%", _plain(tip), 34), _edge("TOTAL", f"${_plain(total)}", 34)]
    if off:
        lines.append(_edge("Total saved", _plain(off), 34))
    return "\n".join(lines), _truth(name, day, "USD", total)


def pump(rng: random.Random, day: date) -> tuple[str, Truth]:
    """A filling station's slip: few words, labels with colons, litres that look like money."""
    station, cents = rng.choice(STATIONS), rng.randrange(2_000, 16_000)
    litres = cents * 100 // 185
    lines = [
        station if rng.random() < 0.6 else f"Quittung / Receipt\n{station}",
        f"{day:%Y-%m-%d}  Pump {rng.randrange(1, 9)}",
    ]
    if rng.random() < 0.3:
        lines.append("Rate CHF per EUR: 0.96")
    lines += [f"Litres: {_plain(litres)}", "Price/l: 1.85"]
    lines.append(f"CHF {_plain(cents)}" if rng.random() < 0.4 else f"Total CHF: {_plain(cents)}")
    if rng.random() < 0.3:
        lines.append(f"(EUR {_plain(cents * 104 // 100)})")
    return "\n".join(lines), _truth(station, day, "CHF", cents)


LAYOUTS: Final[Sequence[tuple[str, Callable[[random.Random, date], tuple[str, Truth]]]]] = tuple(
    (draw.__name__, draw) for draw in (till, invoice, email, table, diner, pump)
)


def _truth(merchant: str, day: date, currency: str, cents: int) -> Truth:
    return Truth(merchant, day.isoformat(), currency, cents / 100)


def _rows(rng: random.Random, names: Sequence[str], least: int, most: int) -> list[Row]:
    return [(what, rng.randint(1, 4), rng.randint(least, most)) for what in rng.sample(names, rng.randint(2, 5))]


def _sum(rows: Sequence[Row]) -> int:
    return sum(many * price for _, many, price in rows)


def _plain(cents: int) -> str:
    return f"{cents / 100:.2f}"


def _comma(cents: int) -> str:
    return f"{cents / 100:,.2f}"


def _german(cents: int) -> str:
    return _comma(cents).translate(str.maketrans(",.", ".,"))


def _edge(left: str, right: str, width: int = 38) -> str:
    return left + right.rjust(width - len(left))


if __name__ == "__main__":
    for receipt in receipts(len(LAYOUTS)):
        print(f"--- {receipt.id} {receipt.layout}: {receipt.truth}\n{receipt.text}\n")
