// The study list: keys, and what goes with a study.

const words = document.getElementById('words');
const rows = document.getElementById('rows');

function openers() {
  return [...rows.querySelectorAll('a.open')];
}

// Arrows walk the studies; Enter is the link's own. In a field they stay the field's,
// but that an arrow down leads from the box into the list.
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector('dialog[open]')) return;
  const field = event.target.closest('input, select, textarea');
  if (event.key === '/' && !field) {
    event.preventDefault();
    words.focus();
    words.select();
    return;
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || (field && !(field === words && step === 1))) return;
  const links = openers();
  const here = event.target.closest('tr[data-study]')?.querySelector('a.open');
  const next = links[here ? links.indexOf(here) + step : 0];
  if (next) {
    event.preventDefault();
    next.focus();
  } else if (here && step === -1) {
    event.preventDefault();
    words.focus();
  }
});
