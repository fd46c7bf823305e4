// Judges alerts and signs weeks: as documents, by the interface of programs.

const alert = document.getElementById('alert');

async function ask(path, body, next) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.ok) {
    location.assign(next);
    return;
  }
  const problem = await response.json().catch(() => ({}));
  alert.textContent = problem.detail || problem.title || response.statusText;
  alert.scrollIntoView();
}

// A reason is one line of text for the record.
function line(text) {
  return text.replace(/\s+/g, ' ').trim();
}

document.querySelector('[data-dispose]')?.addEventListener('submit', (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const said = { disposition: form.get('disposition'), reason: line(form.get('reason')) };
  ask(`/api/audit/review/alerts/${event.target.dataset.dispose}/dispose`, said, '/review');
});
document.querySelector('[data-week]')?.addEventListener('submit', (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const note = line(form.get('note'));
  ask(`/api/audit/review/weeks/${form.get('week')}/sign`, { note }, '/review');
});
