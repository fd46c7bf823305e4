// Confirms or refuses an order: as documents, by the interface of programs.

const alert = document.getElementById('alert');

async function decide(button) {
  button.disabled = true;
  const path = `/api/audit/orders/${button.dataset.decide}`;
  const response = await fetch(path, { method: 'POST' });
  if (response.ok) {
    location.assign('/keeping');
    return;
  }
  const problem = await response.json().catch(() => ({}));
  alert.textContent = problem.detail || problem.title || response.statusText;
  alert.scrollIntoView();
  button.disabled = false;
}

for (const button of document.querySelectorAll('[data-decide]')) {
  button.addEventListener('click', () => decide(button));
}
