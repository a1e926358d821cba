"""How a report looks: its style sheet, its colours and its few lines of script."""

from __future__ import annotations

# Okabe and Ito's colours without black and yellow, told apart by the colour-blind; on a dark page
# lighter ones of the same hues. After these the same again, dashed, then dotted.
_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#b8558c", "#c98a00", "#3fa0d8")
_DARK = ("#4f9fe0", "#f2793a", "#2fbf95", "#dd95bd", "#eab444", "#93d2f5")
_DASHES = ("none", "6 3", "2 3", "8 3 2 3")
_BASELINE_DASHES = ("1 3", "7 4", "4 2 1 2")


def method_style(index: int) -> str:
    """The classes of the method so many places from the first."""
    return f"c{index % len(_LIGHT)} d{index // len(_LIGHT) % len(_DASHES)}"


def baseline_style(index: int) -> str:
    """The classes of a baseline: grey, and thin."""
    return f"cb b{index % len(_BASELINE_DASHES)}"


def _colours(colours: tuple[str, ...], inside: str = "") -> str:
    return "".join(f"{inside}.c{place}{{--s:{colour}}}" for place, colour in enumerate(colours))


_DASH_RULES = "".join(
    [f".d{place} .line{{stroke-dasharray:{dash}}}" for place, dash in enumerate(_DASHES)]
    + [f".b{place} .line{{stroke-dasharray:{dash}}}" for place, dash in enumerate(_BASELINE_DASHES)]
)

STYLE = (
    """
:root{color-scheme:light dark;--page:#fff;--ink:#1c2126;--soft:#5b646d;--rule:#dfe3e7;
--faint:#eef0f2;--card:#fafbfc;--mark:#e4f0e6;--mark-ink:#155724;--link:#1b5e9e;--grey:#737b83;--shade:#0002}
@media screen and (prefers-color-scheme:dark){:root{--page:#14171a;--ink:#e4e7ea;--soft:#9ca5ae;
--rule:#30363c;--faint:#23282d;--card:#191d21;--mark:#1d3a27;--mark-ink:#b5e6c2;--link:#86bdf0;
--grey:#99a1a9;--shade:#0008}}
.cb{--s:var(--grey)}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0 auto;padding:2.5rem clamp(1rem,3vw,2.5rem) 4rem;max-width:84rem;
background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",Helvetica,Arial,sans-serif;
font-variant-numeric:tabular-nums}
h1,h2,h3,h4{line-height:1.25;font-weight:600;margin:0;overflow-wrap:anywhere;break-after:avoid}
h1{font-size:1.75rem;letter-spacing:-.01em}
h2{font-size:1.3rem;margin:3.5rem 0 .5rem;scroll-margin-top:1rem}
h3{font-size:1rem}
h4{font-size:.75rem;font-weight:500;color:var(--soft);margin-top:.6rem}
.way{font-size:.75rem;font-weight:400;color:var(--soft);white-space:nowrap}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
a{color:var(--link)}
.over{color:var(--soft);margin:0 0 .25rem}
.lead-in{font-size:1.0625rem}
.verdict{font-size:1.375rem;line-height:1.35;font-weight:600;max-width:48rem}
.verdict+ul{margin:.75rem 0 0;padding-left:1.2rem;max-width:48rem}
.verdict+ul li{margin:.35rem 0}
.images{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(45%,9.5rem),20rem));gap:.75rem;
padding:1rem 0;border-top:1px solid var(--rule);break-inside:avoid}
.sheet{margin:.5rem 0 2rem}
.images figcaption span{display:block}
.note{color:var(--soft);font-size:.875rem}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:1.25rem 0 0;font-size:.875rem}
.scroll{overflow-x:auto;margin:1rem 0;max-width:100%;
background:linear-gradient(to left,var(--page) 40%,transparent) right/2.5rem 100% no-repeat local,
linear-gradient(to left,var(--shade),transparent) right/1rem 100% no-repeat scroll}
.card .scroll{background-image:linear-gradient(to left,var(--card) 40%,transparent),
linear-gradient(to left,var(--shade),transparent)}
table{border-collapse:collapse;font-size:.9375rem}
th,td{text-align:right;vertical-align:top;padding:.45rem .75rem;border-bottom:1px solid var(--rule)}
th{font-weight:600}
tbody th,th:first-child{text-align:left}
tbody th{font-weight:500;overflow-wrap:break-word;min-width:7rem;max-width:16rem}
thead th{vertical-align:bottom;border-bottom:1.5px solid var(--soft)}
thead small,td small{display:block;font-size:.75rem;font-weight:400;color:var(--soft)}
td small,thead small{white-space:nowrap}
thead small.wrap{white-space:normal}
.numbers th:first-child{position:sticky;left:0;background:var(--page);z-index:1}
.card .numbers th:first-child{background:var(--card)}
tbody+tbody tr:first-child>*{padding-top:1rem}
tr.group th{font-size:.75rem;font-weight:400;color:var(--soft);padding:.9rem .75rem .2rem}
td.best b{background:var(--mark);color:var(--mark-ink);border-radius:.3rem;padding:.1rem .4rem;
margin-right:-.4rem;font-weight:650;-webkit-print-color-adjust:exact;print-color-adjust:exact}
td b{font-weight:450}
th.sorts{cursor:pointer}
th.sorts:hover,th.sorts:focus-visible{color:var(--link)}
th[aria-sort=ascending] .by:after{content:" \\25B4"}
th[aria-sort=descending] .by:after{content:" \\25BE"}
.cards{display:grid;gap:1.25rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,23.5rem),1fr));
margin:1rem 0;align-items:start}
.cards.wide{grid-template-columns:repeat(auto-fill,minmax(min(100%,32rem),1fr))}
.card{background:var(--card);border:1px solid var(--rule);border-radius:.6rem;padding:1rem 1.1rem;
min-width:0;break-inside:avoid}
.card .scroll{margin:.6rem 0 0}
.card table{width:100%;font-size:.875rem}
.card th,.card td{padding:.35rem .5rem}
.card tr>:first-child{padding-left:0}.card tr>:last-child{padding-right:0}
.card tbody:last-child tr:last-child>*{border-bottom:0}
.name{display:inline-flex;gap:.5rem;align-items:baseline}
.key{flex:none;align-self:flex-start;margin-top:.45em}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;list-style:none;padding:0;margin:1rem 0;
font-size:.875rem}
svg{overflow:visible}
svg text{fill:var(--soft);font-size:11px;font-family:inherit}
svg .label,svg .title{fill:var(--ink)}
.chart{display:block;width:100%;max-width:32rem;height:auto;margin-top:.75rem}
.line{stroke:var(--s);stroke-width:2;fill:none;stroke-linejoin:round;stroke-linecap:butt}
.cb .line{stroke-width:1.5}
.band{fill:var(--s);opacity:.13}
.lead{stroke:var(--s);stroke-width:1;fill:none;opacity:.7}
.grid{stroke:var(--rule);stroke-width:1}
.tick{stroke:var(--soft);stroke-width:1}
.beyond{fill:var(--s)}
.zero{stroke:var(--ink);stroke-width:1.25}
.bar{stroke:var(--s);stroke-width:2.5}
.dot{fill:var(--s)}
.ring{fill:var(--card);stroke:var(--s);stroke-width:2}
.plot td,.plot th{border:0;vertical-align:middle}
.plot{table-layout:fixed}.plot .who{width:27%}.plot .figures{width:7.25rem}
.plot{margin-top:.25rem}
.plot tbody th{overflow-wrap:anywhere;font-size:.8125rem;min-width:0;max-width:none;
line-height:1.25}
.plot .where{padding:0!important}
.plot td:last-child{line-height:1.3;padding:.3rem 0 .3rem .5rem;white-space:nowrap}
.strip{display:block;width:100%;height:44px}
.axis{display:block;width:100%;height:18px}
.better{font-size:.75rem;color:var(--soft);text-align:center!important;padding-top:.2rem!important}
.row{display:grid;grid-template-columns:repeat(auto-fill,minmax(5.5rem,1fr));gap:.75rem;
margin:.35rem 0 1rem}
.row.two{grid-template-columns:1fr 1fr}.pair .note{margin:.4rem 0 0}
section>.scroll+h3{margin-top:1.5rem}
.row:last-child{margin-bottom:0}
figure{margin:0;min-width:0;break-inside:avoid}
figure img{display:block;width:100%;height:auto;border-radius:.3rem;background:var(--faint);
-webkit-print-color-adjust:exact;print-color-adjust:exact}
figcaption{font-size:.75rem;line-height:1.35;color:var(--soft);margin-top:.3rem;
overflow-wrap:anywhere}
figcaption b{color:var(--ink);font-size:.8125rem;display:block}
.method{margin:2rem 0 .75rem}
.counts{display:flex;flex-wrap:wrap;gap:.75rem 2.25rem;margin:1rem 0}
.counts>div{display:flex;flex-direction:column-reverse}
.counts dd{margin:0;font-size:1.375rem;line-height:1.2}
.counts dt{font-size:.8125rem;color:var(--soft)}
.words td,.words th{text-align:left;overflow-wrap:anywhere}
.words thead th{white-space:nowrap}.words tbody th{min-width:9rem;max-width:22rem}
.words td{min-width:6rem}
.words td.figure{text-align:right;min-width:0}
.protocol dl{margin:.5rem 0 0;font-size:.875rem}
.protocol dl>div{display:grid;grid-template-columns:minmax(6rem,2fr) 3fr;gap:.75rem;
padding:.25rem 0;border-top:1px solid var(--faint);break-inside:avoid}
.protocol dt{color:var(--soft);overflow-wrap:anywhere}
.protocol dd{margin:0;min-width:0;overflow-wrap:anywhere}
.protocol dd dl{margin:0}
.protocol dd dl>div{display:block;border-top:0;padding:0}
.protocol dd dl dt,.protocol dd dl dd{display:inline}
.protocol dd dl dt:after{content:": "}
.cards.protocol{display:block;columns:23.5rem;column-gap:1.25rem}
.cards.protocol .card{margin-bottom:1.25rem}
.protocol ul{margin:0;padding-left:1.1rem}
details{margin-top:.6rem;font-size:.8125rem}
summary{cursor:pointer;color:var(--soft)}
.folded{font-size:1rem}.folded>summary{color:var(--link)}
footer{break-inside:avoid;margin-top:4rem;border-top:1px solid var(--rule);padding-top:1rem}
@media (max-width:30rem){body{padding-top:1.5rem}h1{font-size:1.4rem}
.numbers>thead th,.numbers>tbody td,.numbers>tbody th{padding:.4rem .5rem}
.numbers>*>tr>:first-child{padding-left:0}
.numbers tbody th{min-width:6.5rem;max-width:8.5rem}.card{padding:.85rem .8rem}
.card .numbers small{white-space:normal}
.card .numbers tbody th{min-width:4.5rem;max-width:6rem}.name{gap:.4rem}
.chart text{font-size:12.5px}}
@media print{@page{size:A4 landscape;margin:12mm}
html{font-size:12.5px}footer{margin-top:1rem}body{padding:0;max-width:none}nav,details:not(.folded){display:none}
.folded>summary{display:none}.folded::details-content{content-visibility:visible;display:block}
.scroll,.card .scroll{overflow:visible;background:none}
tr{break-inside:avoid}thead{display:table-header-group}
h2{margin-top:2rem}h2+p,.legend,.method{break-after:avoid}p{break-inside:avoid}
.cards{grid-template-columns:repeat(3,1fr)}.cards.wide{grid-template-columns:repeat(2,1fr)}
.cards.protocol{columns:3}.cards.protocol .card{break-inside:auto;box-decoration-break:clone}
.numbers th:first-child{position:static}}
"""
    + _colours(_LIGHT)
    + "@media screen and (prefers-color-scheme:dark){"
    + _colours(_DARK)
    + "}"
    + _DASH_RULES
)

# A click on a column's head sorts the rows of each part of the table; without it all is there.
SCRIPT = """
for (const table of document.querySelectorAll("table.sorted")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const sort = () => {
      const up = head.getAttribute("aria-sort") === "none"
        ? head.dataset.first === "ascending" : head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
        const of = (row) => row.cells[column].dataset.value ?? "";
        rows.sort((one, other) => {
          const [a, b] = [of(one), of(other)];
          if (a === "" || b === "") return (a === "") - (b === "");
          const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
          return up ? order : -order;
        });
        body.append(...rows);
      }
    };
    head.classList.add("sorts");
    head.tabIndex = 0;
    head.setAttribute("aria-sort", "none");
    head.title = "Sort by this column";
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (press) => {
      if (press.key === "Enter" || press.key === " ") { press.preventDefault(); sort(); }
    });
  });
}
"""
