// Draws how the archive grew from its table, which has the same numbers for who cannot
// see it. Both axes begin where the numbers do.

const box = document.getElementById('growth');
const rows = [...document.querySelectorAll('#days tr')];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

function size(bytes) {
  let [value, unit] = [bytes, 0];
  while (Math.abs(value) >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(3))} ${UNITS[unit]}`;
}

if (box && rows.length) {
  const days = rows.map((row) => Date.parse(`${row.querySelector('th').textContent}T12:00:00Z`) / 1000);
  const bytes = rows.map((row) => Number(row.dataset.bytes));
  const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 0.5 }, ticks: { show: false } };
  const day = 86400;
  // A few days are not drawn as wide as a year.
  const from = Math.min(days[0], days.at(-1) - 29 * day) - day / 2;
  const to = days.at(-1) + day / 2;
  const chart = new window.uPlot({
    width: box.clientWidth,
    height: box.clientHeight,
    cursor: { show: false },
    legend: { show: false },
    scales: {
      x: { range: () => [from, to] },
      y: { range: (_self, low, high) => [Math.min(low, 0), Math.max(high, 1)] },
    },
    axes: [axis, { ...axis, size: 80, values: (_self, ticks) => ticks.map(size) }],
    series: [
      {},
      { fill: colour('--act'), stroke: colour('--act'), width: 0, paths: window.uPlot.paths.bars({ size: [0.8, 60] }), points: { show: false } },
    ],
  }, [days, bytes], box);
  new ResizeObserver(() => {
    chart.setSize({ width: box.clientWidth, height: box.clientHeight });
  }).observe(box);
}
