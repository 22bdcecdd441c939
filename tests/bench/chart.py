"""Line charts as SVG: panels below each other, labelled axes, targets as dashed lines, light and dark.

    chart = Chart("Publish rate while the file grows", "100-byte payloads, …")
    panel = chart.panel("size of the file, GB", "messages/s")
    panel.line("100 bytes", [(0.1, 900000), …])
    panel.target("at least 400k/s", 400000)
    panel.shade("loaded", [(1, 2)])
    chart.write("rate.svg")
"""
import math
from xml.sax.saxutils import escape

WIDTH = 760
LEFT, RIGHT = 78, 24
HEAD, GAP, FOOT = 64, 82, 56
ALONE, TOGETHER = 220, 160  # height of a panel
COLOURS = 5

STYLE = """
  .card { fill: #ffffff; stroke: #d1d9e0; }
  text { fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .small { font-size: 12px; fill: #59636e; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .axis { stroke: #818b98; stroke-width: 1; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .target { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 6 4; fill: none; }
  .shade { fill: #818b98; fill-opacity: 0.15; }
  .c0 { stroke: #0969da; } .f0 { fill: #0969da; }
  .c1 { stroke: #bc4c00; } .f1 { fill: #bc4c00; }
  .c2 { stroke: #1a7f37; } .f2 { fill: #1a7f37; }
  .c3 { stroke: #8250df; } .f3 { fill: #8250df; }
  .c4 { stroke: #818b98; } .f4 { fill: #818b98; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    text { fill: #f0f6fc; }
    .small { fill: #9198a1; }
    .grid { stroke: #2a313c; }
    .axis { stroke: #656c76; }
    .target { stroke: #f85149; }
    .c0 { stroke: #4493f8; } .f0 { fill: #4493f8; }
    .c1 { stroke: #db6d28; } .f1 { fill: #db6d28; }
    .c2 { stroke: #3fb950; } .f2 { fill: #3fb950; }
    .c3 { stroke: #ab7df8; } .f3 { fill: #ab7df8; }
    .c4 { stroke: #9198a1; } .f4 { fill: #9198a1; }
  }
"""


def ticks(most, about=5):
    """Round numbers from 0 on, the last one at least `most`."""
    raw = most / about if most > 0 else 1
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999) * power
    return [step * index for index in range(max(math.ceil(most / step - 1e-9), 1) + 1)]


def decades(least, most):
    """Powers of ten from at most `least` to at least `most`."""
    return [10.0 ** power for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]


def short(value):
    """1500000 as 1.5 M, 20000 as 20 k."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{name}"
    return f"{value:.4g}"


class Panel:
    def __init__(self, x_label, y_label, log):
        self.labels = (x_label, y_label)
        self.log = log
        self.series = []
        self.targets = []
        self.shaded = ("", [])

    def line(self, name, points, marks=True):
        """Points are (x, y) pairs in order; marks: with a dot at each."""
        self.series.append((name, list(points), marks))

    def target(self, text, points):
        """A horizontal line at a number, or a line through (x, y) points."""
        self.targets.append((points, text))

    def shade(self, text, spans):
        """Marks (from, to) spans of x."""
        self.shaded = (text, list(spans))

    def _values(self, axis):
        values = [point[axis] for _, points, _ in self.series for point in points]
        for points, _ in self.targets:
            if isinstance(points, (int, float)):
                values += [points] if axis == 1 else []
            else:
                values += [point[axis] for point in points]
        return [value for value in values if value > 0] or [1]

    def draw(self, out, top, height):
        wide, bottom = WIDTH - LEFT - RIGHT, top + height
        x_end, ys = max(self._values(0)), self._values(1)
        x_ticks = ticks(x_end, 8)
        y_ticks = decades(min(ys), max(ys)) if self.log else ticks(max(ys) * 1.04)

        def place(x, y):
            if self.log:
                share = math.log(max(y, y_ticks[0]) / y_ticks[0]) / math.log(y_ticks[-1] / y_ticks[0])
            else:
                share = y / y_ticks[-1]
            return LEFT + wide * x / x_end, bottom - height * share

        for begin, end in self.shaded[1]:
            x, _ = place(begin, 0)
            out.append(f'<path class="shade" d="M{x:.1f} {top}H{place(end, 0)[0]:.1f}V{bottom}H{x:.1f}z"/>')
        for value in y_ticks:
            _, y = place(0, value)
            out.append(f'<path class="{"grid" if value > y_ticks[0] else "axis"}" '
                       f'd="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            out.append(f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>')
        for value in x_ticks:
            if value <= x_end * 1.0001:
                x, _ = place(value, 0)
                out.append(f'<path class="axis" d="M{x:.1f} {bottom}v5"/>')
                out.append(f'<text class="small" x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">'
                           f'{short(value)}</text>')
        out.append(f'<text class="small" x="{LEFT + wide / 2}" y="{bottom + 38}" text-anchor="middle">'
                   f'{escape(self.labels[0])}</text>')
        middle = top + height / 2
        out.append(f'<text class="small" text-anchor="middle" transform="translate(20 {middle}) rotate(-90)">'
                   f'{escape(self.labels[1])}</text>')
        for points, _ in self.targets:
            self._draw_target(out, place, points, x_end)
        for index, (_, points, marks) in enumerate(self.series):
            self._draw_line(out, place, points, marks, index % COLOURS)
        self._draw_legend(out, top - 12)

    @staticmethod
    def _draw_target(out, place, points, x_end):
        if isinstance(points, (int, float)):
            points = [(0, points), (x_end, points)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*point) for point in points))
        out.append(f'<path class="target" d="M{path}"/>')

    @staticmethod
    def _draw_line(out, place, points, marks, colour):
        placed = [place(*point) for point in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        if len(placed) > 1:
            out.append(f'<path class="line c{colour}" d="M{path}"/>')
        if marks or len(placed) == 1:
            out.extend(f'<circle class="f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in placed)

    def _draw_legend(self, out, y):
        entries = [(f'<path class="line c{index % COLOURS}" d="M%d {y - 4}h20"/>', name)
                   for index, (name, _, _) in enumerate(self.series)]
        entries += [(f'<path class="target" d="M%d {y - 4}h20"/>', text) for _, text in self.targets]
        if self.shaded[1]:
            entries.append((f'<path class="shade" d="M%d {y - 9}h20v10h-20z"/>', self.shaded[0]))
        x = LEFT
        for sample, name in entries:
            out.append(sample % x + f'<text class="small" x="{x + 26:.0f}" y="{y}">{escape(name)}</text>')
            x += 26 + 6.3 * len(name) + 20


class Chart:
    def __init__(self, title, note):
        self.title = title
        self.note = note
        self.panels = []

    def panel(self, x_label, y_label, log=False):
        self.panels.append(Panel(x_label, y_label, log))
        return self.panels[-1]

    def svg(self):
        each = ALONE if len(self.panels) == 1 else TOGETHER
        height = HEAD + FOOT + len(self.panels) * each + (len(self.panels) - 1) * GAP + 22
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
               f'font-family="system-ui, sans-serif" role="img" aria-labelledby="title">',
               f'<title id="title">{escape(self.title)}</title>', f"<style>{STYLE}</style>",
               f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
               f'<text class="title" x="20" y="28">{escape(self.title)}</text>',
               f'<text class="small" x="20" y="47">{escape(self.note)}</text>']
        for index, panel in enumerate(self.panels):
            panel.draw(out, HEAD + 22 + index * (each + GAP), each)
        return "\n".join(out + ["</svg>"]) + "\n"

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.svg())
