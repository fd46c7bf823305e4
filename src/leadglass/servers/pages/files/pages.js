// What the pages of login, enrolment and one's own proofs do. No page of ours keeps
// anything: tickets live in this script while it runs, the session is in a cookie
// that no script can read.

const page = document.body.dataset.page;
const find = (name) => document.getElementById(name);
const hasPasskeys = Boolean(
  window.PublicKeyCredential?.parseRequestOptionsFromJSON &&
    window.PublicKeyCredential?.parseCreationOptionsFromJSON,
);

class Told extends Error {}

// What is said here stands in the page, in the reader's language.
function sentence(name) {
  const terms = [...find('sentences').querySelectorAll('dt')];
  return terms.find((each) => each.textContent === name).nextElementSibling.textContent;
}

async function ask(method, path, document_) {
  const answer = await fetch(path, {
    method,
    credentials: 'same-origin',
    cache: 'no-store',
    ...(document_ && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(document_),
    }),
  });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const problem = await answer.json().catch(() => ({}));
  const common = text(answer.status);
  const error = new Told(common ?? problem.detail ?? sentence('later'));
  error.status = answer.status;
  error.detail = problem.detail ?? '';
  throw error;
}

// What happens often is said in the reader's language; what is wrong with an input, as
// the server says it.
function text(status) {
  const names = { 401: 'ended', 403: 'refused', 429: 'busy', 503: 'later' };
  return names[status] && sentence(names[status]);
}

// Runs what a form or a button does: once at a time, and says what went wrong.
function on(element, event, act) {
  element?.addEventListener(event, async (happened) => {
    happened.preventDefault();
    const alert = find('alert');
    alert.textContent = '';
    const buttons = [...document.querySelectorAll('button')];
    buttons.forEach((button) => (button.disabled = true));
    try {
      await act(new FormData(element.tagName === 'FORM' ? element : undefined));
    } catch (error) {
      alert.textContent =
        error instanceof Told ? error.message : sentence('browser');
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  });
}

function show(name) {
  document.querySelectorAll('main > section').forEach((section) => {
    section.hidden = section.id !== name;
  });
  find(name).querySelector('input, button')?.focus();
}

// Back to where the reader came from: a path of this site, and nothing else.
function next() {
  const wanted = new URLSearchParams(location.search).get('next') ?? '/start';
  return /^\/(?![/\\])/.test(wanted) ? wanted : '/start';
}

const sign = async (options) =>
  (
    await navigator.credentials.get({
      publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options),
    })
  ).toJSON();
const make = async (options) =>
  (
    await navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
    })
  ).toJSON();

function login() {
  let step;
  const done = () => location.replace(next());
  find('code').required = !document.querySelector('.directory');
  on(find('first-form'), 'submit', async (form) => {
    step = await ask('POST', '/api/login', {
      name: form.get('name'),
      password: form.get('password'),
    });
    show('second');
  });
  on(find('second-form'), 'submit', async (form) => {
    try {
      await ask('POST', '/api/login/code', {
        ticket: step.ticket,
        code: form.get('code'),
      });
    } catch (error) {
      find('second-form').reset();
      throw error;
    }
    done();
  });
  on(find('second-passkey'), 'click', async () => {
    const response = await sign(step.passkey);
    await ask('POST', '/api/login/passkey/finish', { ticket: step.ticket, response });
    done();
  });
  on(find('again'), 'click', () => show('first'));
  on(find('first-passkey'), 'click', async () => {
    const begun = await ask('POST', '/api/login/passkey', {});
    const response = await sign(begun.passkey);
    await ask('POST', '/api/login/passkey/finish', { ticket: begun.ticket, response });
    done();
  });
}

function offered(offer) {
  find('qr').src = `data:image/svg+xml,${encodeURIComponent(offer.qr)}`;
  find('app-text').textContent = offer.app_text.replace(/(.{4})/g, '$1 ').trim();
}

function codes(told) {
  find('codes').replaceChildren(
    ...told.recovery_codes.map((code) => {
      const item = document.createElement('li');
      item.textContent = code;
      return item;
    }),
  );
  show('kept');
}

function enrol() {
  let offer;
  on(find('secret-form'), 'submit', async (form) => {
    offer = await ask('POST', '/api/enrolment', {
      name: form.get('name'),
      secret: form.get('secret').trim(),
    });
    offered(offer);
    show('choose');
  });
  on(find('app-form'), 'submit', async (form) => {
    if (form.get('password') !== form.get('repeated')) {
      throw new Told(sentence('differ'));
    }
    codes(
      await ask('POST', '/api/enrolment/app', {
        ticket: offer.ticket,
        password: form.get('password'),
        code: form.get('code'),
      }),
    );
  });
  on(find('passkey-form'), 'submit', async (form) => {
    const response = await make(offer.passkey);
    codes(
      await ask('POST', '/api/enrolment/passkey', {
        ticket: offer.ticket,
        response,
        label: form.get('label'),
      }),
    );
  });
  on(find('print'), 'click', () => window.print());
}

function row(cells, label, act) {
  const line = document.createElement('tr');
  for (const cell of cells) {
    const place = document.createElement('td');
    place.textContent = cell;
    line.append(place);
  }
  const place = document.createElement('td');
  if (act) {
    const button = document.createElement('button');
    button.className = 'second';
    button.textContent = label;
    on(button, 'click', act);
    place.append(button);
  }
  line.append(place);
  return line;
}

const when = (moment) => (moment ? new Date(moment).toLocaleString() : sentence('never'));

async function mine() {
  const own = await ask('GET', '/api/me/proofs');
  find('name').textContent = own.name;
  find('facts').textContent = [
    sentence(own.has_password ? 'password' : 'no-password'),
    sentence(own.has_app ? 'app' : 'no-app'),
    `${own.recovery_codes_left} ${sentence('codes')}`,
  ].join(', ');
  document.querySelector('.local').hidden = own.is_external;
  document.querySelector('.elsewhere').hidden = !own.is_external;
  find('sessions').replaceChildren(
    ...own.sessions.map((each) =>
      row(
        [each.address, each.factor, when(each.used_at), when(each.ends_at)],
        sentence('end'),
        each.is_this
          ? null
          : async () => {
              await ask('POST', `/api/me/sessions/${each.number}/end`);
              await mine();
            },
      ),
    ),
  );
  find('passkeys').replaceChildren(
    ...own.passkeys.map((each) =>
      row([each.label, when(each.used_at)], sentence('remove'), () =>
        fresh(async () => {
          await ask('DELETE', `/api/me/passkeys/${each.number}`);
          location.replace('/login?next=/me');
        }),
      ),
    ),
  );
}

// Does what needs a fresh proof; asks for one where the server wants it.
let wanted = null;
async function fresh(act) {
  try {
    await act();
  } catch (error) {
    if (error.status !== 403 || !/anew/.test(error.detail)) throw error;
    wanted = act;
    find('prove').showModal();
  }
}

function me() {
  let offer;
  on(find('log-out'), 'click', async () => {
    await ask('POST', '/api/logout');
    location.replace('/login');
  });
  on(find('end-others'), 'click', async () => {
    await ask('POST', '/api/me/sessions/end');
    await mine();
  });
  on(find('prove-form'), 'submit', async (form) => {
    find('prove').close();
    find('prove-form').reset();
    await ask('POST', '/api/me/prove', { code: form.get('code') });
    const act = wanted;
    wanted = null;
    await act?.();
  });
  on(find('prove-not'), 'click', () => find('prove').close());
  on(find('password-form'), 'submit', (form) =>
    fresh(async () => {
      await ask('POST', '/api/me/password', { password: form.get('password') });
      location.replace('/login?next=/me');
    }),
  );
  on(find('passkey-form'), 'submit', (form) =>
    fresh(async () => {
      offer = await ask('POST', '/api/me/proofs/offer');
      const response = await make(offer.passkey);
      await ask('POST', '/api/me/passkeys', {
        ticket: offer.ticket,
        response,
        label: form.get('label'),
      });
      find('passkey-form').reset();
      await mine();
    }),
  );
  on(find('new-codes'), 'click', () =>
    fresh(async () => codes(await ask('POST', '/api/me/recovery-codes'))),
  );
  on(find('back'), 'click', async () => {
    show('own');
    await mine();
  });
  mine().catch((error) => {
    if (error.status === 401) location.replace('/login?next=/me');
    else find('alert').textContent = error.message;
  });
}

document.querySelectorAll('.passkeys').forEach((each) => (each.hidden = !hasPasskeys));
({ login, enrol, me })[page]();
