// Users and tokens: nothing is saved before its effect was shown; secrets are shown once.

import { act, hush } from '/web/proof.js';

const find = (id) => document.getElementById(id);
const words = find('words').dataset;
const edit = find('edit-form');
let edited = null; // whose roles are changed; null: somebody new
let acted = null;

function form() {
  const fields = new URLSearchParams(new FormData(edit));
  if (edited) {
    fields.set('name', edited.name);
    if (edited.external) fields.set('keeps_roles', '1');
  } else {
    fields.set('is_new', '1');
  }
  return fields;
}

// What was shown is what is saved: whoever changes a field looks again.
function forget() {
  find('save').disabled = true;
  find('effect').replaceChildren();
}

function open(account) {
  edited = account;
  edit.reset();
  hush();
  forget();
  const roles = account ? account.roles.split(' ') : [];
  edit.querySelectorAll('[name="roles"]').forEach((each) => {
    each.checked = roles.includes(each.value);
    each.disabled = Boolean(account?.external);
  });
  find('scope').value = account ? account.scope : words.everything;
  find('edit-title').textContent = account ? `${words.change}: ${account.name}` : words.add;
  find('edit-names').hidden = Boolean(account);
  find('edit-why').hidden = !account;
  find('name').disabled = Boolean(account);
  find('edit').showModal();
}

async function preview() {
  if (!edit.reportValidity()) return;
  forget();
  const asked = form().toString();
  await act('/people/preview', new URLSearchParams(asked), async (response) => {
    const shown = await response.text();
    if (form().toString() !== asked) return;
    // Made by the server from a template that escapes, as every part of a page.
    find('effect').innerHTML = shown;
    find('save').disabled = find('found').dataset.problems !== '0';
    find('effect').scrollIntoView({ block: 'nearest' });
  });
}

function done(said) {
  document.querySelectorAll('dialog[open]').forEach((each) => each.close());
  find('done').textContent = said;
  find('refresh').click();
}

function show(what, text, isUser) {
  find('secret-what').textContent = what;
  find('secret-text').textContent = text;
  find('secret-link').hidden = !isUser;
  find('secret').showModal();
}

find('secret').addEventListener('close', () => {
  find('secret-text').textContent = '';
});
find('add').addEventListener('click', () => open(null));
find('preview').addEventListener('click', preview);
edit.addEventListener('input', forget);
edit.addEventListener('submit', (event) => {
  event.preventDefault();
  // The key Enter in a field: first the effect.
  if (find('save').disabled) {
    preview();
    return;
  }
  const fields = new FormData(edit);
  const body = { scope: fields.get('scope') };
  if (!edited?.external) body.roles = fields.getAll('roles');
  if (edited) {
    body.reason = fields.get('reason');
    const path = `/api/users/${encodeURIComponent(edited.name)}/change`;
    act(path, body, () => done(words.saved));
    return;
  }
  body.name = fields.get('name').trim();
  body.display_name = fields.get('display_name').trim();
  act('/api/users', body, async (response) => {
    const { one_time_secret: secret } = await response.json();
    done(words.saved);
    show(words.enrol, secret, true);
  });
});

find('add-token').addEventListener('click', () => {
  hush();
  find('token-form').reset();
  find('token').showModal();
});
find('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const fields = new FormData(event.target);
  const networks = fields.get('networks').split(',').map((each) => each.trim()).filter(Boolean);
  const body = {
    name: fields.get('name').trim(),
    role: fields.get('role'),
    scope: fields.get('scope').trim(),
    days: Number(fields.get('days')),
  };
  if (networks.length) body.networks = networks;
  act('/api/tokens', body, async (response) => {
    const { token } = await response.json();
    done(words.saved);
    show(words.token, token, false);
  });
});

// The list is replaced, so its buttons are heard of here.
document.addEventListener('click', ({ target }) => {
  const chosen = target.closest('button[data-act]')?.dataset;
  if (!chosen) return;
  if (chosen.act === 'change') {
    open({ ...chosen });
    return;
  }
  acted = { ...chosen };
  hush();
  find('sure-form').reset();
  const word = (name) => find('words').getAttribute(`data-${name}`);
  find('sure-title').textContent = `${word(chosen.act)}: ${chosen.name}`;
  find('sure-what').textContent = word(`${chosen.act}-what`);
  find('sure-go').textContent = word(chosen.act);
  find('sure').showModal();
});
find('sure-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const kind = acted.act === 'revoke' ? 'tokens' : 'users';
  const path = `/api/${kind}/${encodeURIComponent(acted.name)}/${acted.act}`;
  const reason = new FormData(event.target).get('reason');
  act(path, { reason }, async (response) => {
    const answer = await response.json();
    done(words.saved);
    if (answer.one_time_secret) show(words.enrol, answer.one_time_secret, true);
  });
});
