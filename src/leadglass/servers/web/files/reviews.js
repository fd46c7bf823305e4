// Signs a review, and ends what still stands: as documents, by the interface of programs.

const alert = document.getElementById('alert');

async function ask(path, body, next) {
  const response = await fetch(path, {
    method: 'POST',
    headers: body ? { 'content-type': 'application/json' } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  if (response.ok) {
    location.assign(next);
    return;
  }
  const problem = await response.json().catch(() => ({}));
  alert.textContent = problem.detail || problem.title || response.statusText;
  alert.scrollIntoView();
}

document.querySelector('[data-sign]')?.addEventListener('submit', (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  // A note is one line of text for the record.
  const note = form.get('note').replace(/\s+/g, ' ').trim();
  const { sign } = event.target.dataset;
  ask(`/api/reviews/${sign}/sign`, { verdict: form.get('verdict'), note }, '/reviews');
});
document.querySelector('[data-end]')?.addEventListener('click', (event) => {
  const { end } = event.target.dataset;
  ask(`/api/emergencies/${end}/end`, null, `/reviews/${end}`);
});
