// Enrols, renews and revokes devices. A key is in the answer once, and saved at once.

const find = (id) => document.getElementById(id);
const alert = find('alert');
const words = find('words').dataset;
let wanted = null;

// Does something; asks for a fresh proof where the server wants one, and does it again.
async function act(path, form, done) {
  alert.textContent = '';
  find('done').textContent = '';
  const response = await fetch(path, {
    method: 'POST',
    body: form ? new URLSearchParams(form) : undefined,
  });
  if (response.ok) {
    await done(response);
    find('refresh').click();
    return;
  }
  const problem = await response.json().catch(() => ({}));
  const said = problem.detail || problem.title || response.statusText;
  if (response.status === 401) {
    location.assign('/login?next=/devices');
  } else if (response.status === 403 && /anew/.test(said)) {
    wanted = () => act(path, form, done);
    find('prove-fault').textContent = '';
    find('prove').showModal();
  } else {
    alert.textContent = said;
    alert.scrollIntoView();
  }
}

async function save(response, told) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await response.blob());
  link.download = /filename="([^"]+)"/.exec(response.headers.get('content-disposition'))[1];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  find('done').textContent = told;
}

find('enrol').addEventListener('submit', (event) => {
  event.preventDefault();
  act('/devices/enrol', new FormData(event.target), async (response) => {
    await save(response, words.enrolled);
    event.target.reset();
  });
});

// The list is replaced, so its buttons are heard of here.
document.addEventListener('click', ({ target }) => {
  const { renew, revoke, ours, title } = target.closest('button')?.dataset ?? {};
  if (renew) {
    const path = `/devices/${encodeURIComponent(renew)}/renew`;
    act(path, null, (response) => save(response, words.renewed));
  } else if (revoke) {
    find('revoke-form').reset();
    find('revoke-name').textContent = revoke;
    find('revoke').showModal();
  } else if (ours) {
    find('enrol').reset();
    find('networks').value = ours;
    find('titles').value = title;
    find('name').value = /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(title) ? title : '';
    find('enrol-title').scrollIntoView();
    find('name').focus();
  } else if (target.classList.contains('close')) {
    target.closest('dialog').close();
  }
});

find('revoke-form').addEventListener('submit', (event) => {
  event.preventDefault();
  find('revoke').close();
  const path = `/devices/${encodeURIComponent(find('revoke-name').textContent)}/revoke`;
  act(path, new FormData(event.target), () => {
    find('done').textContent = find('revoke').dataset.done;
  });
});

find('prove-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const response = await fetch('/api/me/prove', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code: new FormData(event.target).get('code').trim() }),
  });
  event.target.reset();
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
