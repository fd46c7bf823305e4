// What all pages of the app do.

const alert = document.getElementById('alert');

// Moments are written in UTC; readers want their own zone.
const MOMENT = new Intl.DateTimeFormat(document.documentElement.lang, {
  dateStyle: 'medium',
  timeStyle: 'short',
});
function localise(root) {
  root.querySelectorAll?.('time[datetime]').forEach((each) => {
    const when = new Date(each.dateTime);
    each.title = each.dateTime;
    each.textContent = MOMENT.format(when);
  });
}

// A refusal is said where everybody finds it, and read aloud; a session that has ended
// leads to the login.
async function tell(response) {
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    return;
  }
  let said = response.statusText;
  try {
    const problem = await response.clone().json();
    said = problem.detail || problem.title || said;
  } catch {
    // no problem document: the status has to do
  }
  alert.textContent = said;
}

document.addEventListener('htmx:after:request', (event) => {
  const { response } = event.detail.ctx;
  const raw = response?.raw;
  if (raw && raw.status >= 400) tell(raw);
  else alert.textContent = '';
});
document.addEventListener('htmx:after:swap', () => localise(document));
document.getElementById('log-out').addEventListener('click', async () => {
  await fetch('/api/logout', { method: 'POST' });
  location.assign('/login');
});
localise(document);
