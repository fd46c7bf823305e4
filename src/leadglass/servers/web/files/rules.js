// The rule file: its effect first, then it is saved, if nobody else changed it.

import { act, hush } from '/web/proof.js';

const find = (id) => document.getElementById(id);
const edit = find('edit');

// Of the file whose text is in the field; the list is replaced, the field is not.
let { digest } = find('seen').dataset;

function forget() {
  find('save').disabled = true;
  find('effect').replaceChildren();
}

async function preview() {
  forget();
  const text = find('text').value;
  await act('/rules/preview', new URLSearchParams({ text }), async (response) => {
    const shown = await response.text();
    if (find('text').value !== text) return;
    // Made by the server from a template that escapes, as every part of a page.
    find('effect').innerHTML = shown;
    find('save').disabled = find('found').dataset.problems !== '0';
  });
}

async function sha256(text) {
  const kept = text === '' || text.endsWith('\n') ? text : `${text}\n`;
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(kept));
  return [...new Uint8Array(bytes)].map((each) => each.toString(16).padStart(2, '0')).join('');
}

find('preview')?.addEventListener('click', preview);
edit?.addEventListener('input', forget);
edit?.addEventListener('submit', (event) => {
  event.preventDefault();
  hush();
  const text = find('text').value;
  act('/rules/save', new URLSearchParams({ text, digest }), async () => {
    digest = await sha256(text);
    forget();
    find('done').textContent = find('words').dataset.saved;
    find('done').scrollIntoView({ block: 'nearest' });
    find('refresh').click();
  });
});
