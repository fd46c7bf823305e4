// Enrols, renews and revokes devices. A key is in the answer once, and saved at once.

import { act } from '/web/proof.js';

const find = (id) => document.getElementById(id);
const words = find('words').dataset;

function change(path, form, done) {
  find('done').textContent = '';
  return act(path, form && new URLSearchParams(form), async (response) => {
    await done(response);
    find('refresh').click();
  });
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
  change('/devices/enrol', new FormData(event.target), async (response) => {
    await save(response, words.enrolled);
    event.target.reset();
  });
});

// The list is replaced, so its buttons are heard of here.
document.addEventListener('click', ({ target }) => {
  const { renew, revoke, ours, title } = target.closest('button')?.dataset ?? {};
  if (renew) {
    const path = `/devices/${encodeURIComponent(renew)}/renew`;
    change(path, null, (response) => save(response, words.renewed));
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
  }
});

find('revoke-form').addEventListener('submit', (event) => {
  event.preventDefault();
  find('revoke').close();
  const path = `/devices/${encodeURIComponent(find('revoke-name').textContent)}/revoke`;
  change(path, new FormData(event.target), () => {
    find('done').textContent = find('revoke').dataset.done;
  });
});
