// Does what may need a fresh proof: asks for it where the server wants one, and goes on.

const find = (id) => document.getElementById(id);
let wanted = null;

const JSON_BODY = 'application/json';

// Says what was refused where everybody finds it: in the dialog that is open, or above.
export function tell(said) {
  const place = document.querySelector('dialog[open] [role="alert"]') ?? find('alert');
  place.textContent = said;
  place.scrollIntoView({ block: 'nearest' });
}

export function hush() {
  document.querySelectorAll('[role="alert"]').forEach((each) => {
    each.textContent = '';
  });
}

// Posts a document (an object), a form (URLSearchParams) or nothing (null).
export async function act(path, body, done) {
  hush();
  const isDocument = body !== null && !(body instanceof URLSearchParams);
  const response = await fetch(path, {
    method: 'POST',
    headers: isDocument ? { 'content-type': JSON_BODY } : {},
    body: isDocument ? JSON.stringify(body) : body,
  });
  if (response.ok) {
    await done(response);
    return;
  }
  const problem = await response.json().catch(() => ({}));
  const said = problem.detail || problem.title || response.statusText;
  if (response.status === 401) {
    location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  } else if (response.status === 403 && /anew/.test(said)) {
    wanted = () => act(path, body, done);
    find('prove').showModal();
    find('code').focus();
  } else {
    tell(said);
  }
}

find('prove-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const code = new FormData(event.target).get('code').trim();
  event.target.reset();
  const response = await fetch('/api/me/prove', {
    method: 'POST',
    headers: { 'content-type': JSON_BODY },
    body: JSON.stringify({ code }),
  });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    find('prove-fault').textContent = problem.detail || problem.title || response.statusText;
    return;
  }
  find('prove').close();
  const again = wanted;
  wanted = null;
  await again?.();
});

document.addEventListener('click', ({ target }) => {
  if (target.classList.contains('close')) target.closest('dialog').close();
});
