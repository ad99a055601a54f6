/** The hit rates of one policy on one trace, by cache size. */
export interface Curve {
  readonly trace: string;
  readonly policy: string;
  /** x: slots in cycles; y: hit rate in percent. */
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const [WIDTH, HEIGHT, MARGIN] = [640, 360, 44];
/** Okabe and Ito's colours, which the colour-blind can tell apart, too. */
const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#555555", "#56b4e9"];

const escaped = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** An HTML page without further files: a drawing for each trace. */
export function drawCurves(curves: readonly Curve[]): string {
  const traces = [...new Set(curves.map(({ trace }) => trace))];
  const drawings = traces.map((trace) => {
    const own = curves.filter((curve) => curve.trace === trace);
    return `<h2>${escaped(trace)}</h2>${draw(own)}`;
  });
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Expert caches</title>
<style>body{font:16px system-ui,sans-serif;max-width:45em;margin:2em auto;padding:0 1em}svg{width:100%}text{font-size:12px}</style>
<h1>Hit rate over cache size</h1><p>Cycles: slots divided by the experts of one token.</p>${drawings.join("\n")}</html>\n`;
}

function draw(curves: readonly Curve[]): string {
  const most = Math.max(1, ...curves.flatMap(({ points }) => points.map(({ x }) => x)));
  const x = (value: number) => MARGIN + (value / most) * (WIDTH - 3 * MARGIN);
  const y = (value: number) => HEIGHT - MARGIN - (value / 100) * (HEIGHT - 2 * MARGIN);
  const grid = [0, 20, 40, 60, 80, 100].map(
    (value) =>
      `<path d="M${x(0)} ${y(value)}H${x(most)}" stroke="#ccc"/><text x="${x(0) - 6}" y="${y(value) + 4}" text-anchor="end">${value} %</text>`,
  );
  const ticks = [...new Set(curves.flatMap(({ points }) => points.map((point) => point.x)))].map(
    (value) =>
      `<text x="${x(value)}" y="${HEIGHT - MARGIN + 18}" text-anchor="middle">${Number(value.toFixed(2))}</text>`,
  );
  const lines = curves.map(({ policy, points }, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const path = points.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(" ");
    const key = `<text x="${WIDTH - 2 * MARGIN + 8}" y="${MARGIN + 18 * index}" fill="${colour}">${escaped(policy)}</text>`;
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>${key}`;
  });
  const parts = [...grid, ...ticks, ...lines].join("");
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Hit rates of ${curves.length} policies">${parts}</svg>`;
}
