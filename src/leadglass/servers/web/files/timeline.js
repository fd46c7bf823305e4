// Draws the timeline from its table, which has the same numbers for who cannot see it.

let chart = null;
let size = null;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The columns after the moment: all records, and how they ended; a dash is not known.
function rowsOf(section) {
  return [...section.querySelectorAll('tbody tr')].map((row) => [
    Number(row.dataset.since),
    ...[...row.querySelectorAll('td')].map((cell) => {
      const count = Number(cell.textContent);
      return Number.isNaN(count) ? null : count;
    }),
  ]);
}

function draw() {
  const section = document.getElementById('timeline');
  const box = section?.querySelector('.chart');
  if (!box || box.firstChild) return;
  chart?.destroy();
  size?.disconnect();
  const rows = rowsOf(section);
  const titles = [...section.querySelectorAll('thead th')].map((each) => each.textContent);
  const failed = rows.map((row) => (row[2] === null ? null : row[3] + row[4] + row[5]));
  const bars = window.uPlot.paths.bars({ size: [0.8] });
  const axis = { stroke: colour('--quiet'), grid: { stroke: colour('--line'), width: 0.5 }, ticks: { show: false } };
  const options = {
    width: box.clientWidth,
    height: box.clientHeight,
    cursor: { show: false },
    legend: { show: false },
    scales: { y: { range: (_self, _low, high) => [0, Math.max(high, 1)] } },
    axes: [axis, { ...axis, size: 60 }],
    series: [
      {},
      { label: titles[1], fill: colour('--act'), stroke: colour('--act'), width: 0, paths: bars, points: { show: false } },
      { label: titles[3], fill: colour('--bad'), stroke: colour('--bad'), width: 0, paths: bars, points: { show: false } },
    ],
  };
  chart = new window.uPlot(options, [rows.map((row) => row[0]), rows.map((row) => row[1]), failed], box);
  size = new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: box.clientHeight }));
  size.observe(box);
}

document.addEventListener('htmx:after:swap', draw);
draw();
