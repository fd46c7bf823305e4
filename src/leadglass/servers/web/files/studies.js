// The study list: keys, pictures, filters, why somebody sees a study, and the viewer
// fetched ahead.

const words = document.getElementById('words');
const rows = document.getElementById('rows');
const search = document.getElementById('search');
const said = document.getElementById('alert');

// What a browser refuses to keep (private windows, a full disk) is not kept.
function kept(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
function keep(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // it holds until the page is left
  }
}

// --- keys -------------------------------------------------------------------

// Arrows walk the studies; Enter is the link's own. In a field they stay the field's,
// but that an arrow down leads from the box into the list.
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (document.querySelector('dialog[open]')) return;
  const field = event.target.closest('input, select, textarea');
  if (event.key === '/' && !field) {
    event.preventDefault();
    words.focus();
    words.select();
    return;
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || (field && !(field === words && step === 1))) return;
  const links = [...rows.querySelectorAll('a.open')];
  const here = event.target.closest('tr[data-study]')?.querySelector('a.open');
  const next = links[here ? links.indexOf(here) + step : 0];
  const goal = next ?? (here && step === -1 ? words : null);
  if (goal) {
    event.preventDefault();
    goal.focus();
  }
});

// --- pictures ---------------------------------------------------------------

const pictures = document.getElementById('pictures');
const PICTURES = 'leadglass.studies.pictures';

function show() {
  if (!pictures) return;
  document.querySelectorAll('.picture').forEach((each) => {
    each.hidden = !pictures.checked;
    const image = each.querySelector('img[data-src]');
    if (image && pictures.checked && !image.hasAttribute('src')) image.src = image.dataset.src;
  });
}
if (pictures) {
  pictures.checked = kept(PICTURES, false) === true;
  // Not a part of the search, so it asks for nothing.
  pictures.addEventListener('input', (event) => {
    event.stopPropagation();
    keep(PICTURES, pictures.checked);
    show();
  });
  show();
}
document.addEventListener('htmx:after:swap', show);

// --- filters ----------------------------------------------------------------

const FILTERS = 'leadglass.studies.filters';
const FILTERS_MAX = 20;
const list = document.getElementById('filters');
const period = document.getElementById('period');
const from = document.getElementById('from');
const to = document.getElementById('to');
const modality = document.getElementById('modality');
const description = document.getElementById('description');

function day(before) {
  const when = new Date();
  when.setDate(when.getDate() - before);
  const two = (number) => String(number).padStart(2, '0');
  return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
}
function seek() {
  search.dispatchEvent(new Event('input', { bubbles: true }));
}
function setPeriod() {
  from.value = period.value ? day(Number(period.value) - 1) : '';
  to.value = period.value ? day(0) : '';
}
period.addEventListener('change', () => {
  setPeriod();
  seek();
});
for (const each of [from, to]) each.addEventListener('input', () => { period.value = ''; });

function nameOf(filter) {
  const option = [...period.options].find((each) => each.value === filter.period);
  return [filter.modality, filter.description, filter.period ? option?.text : '']
    .filter(Boolean).join(' · ');
}
function filters() {
  const found = kept(FILTERS, []);
  return Array.isArray(found) ? found.slice(0, FILTERS_MAX) : [];
}
function button(text, label, act) {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'second';
  made.textContent = text;
  if (label) made.setAttribute('aria-label', label);
  made.addEventListener('click', act);
  return made;
}
function draw() {
  list.replaceChildren(...filters().map((filter, index) => {
    const item = document.createElement('li');
    const use = button(nameOf(filter), '', () => {
      search.reset();
      if (pictures) pictures.checked = kept(PICTURES, false) === true;
      period.value = filter.period ?? '';
      modality.value = filter.modality ?? '';
      description.value = filter.description ?? '';
      setPeriod();
      seek();
    });
    const remove = button('×', `${list.dataset.remove}: ${nameOf(filter)}`, () => {
      keep(FILTERS, filters().filter((_, other) => other !== index));
      draw();
    });
    item.append(use, remove);
    return item;
  }));
}
document.getElementById('keep').addEventListener('click', () => {
  const filter = {
    period: period.value,
    modality: modality.value.trim().toUpperCase(),
    description: description.value.trim(),
  };
  if (!nameOf(filter)) return;
  keep(FILTERS, [...filters().filter((each) => nameOf(each) !== nameOf(filter)), filter].slice(-FILTERS_MAX));
  draw();
});
document.getElementById('clear').addEventListener('click', () => {
  const hadPictures = pictures?.checked;
  search.reset();
  if (pictures) pictures.checked = hadPictures;
  seek();
});
draw();

// --- why, and broken glass --------------------------------------------------

async function post(path, body) {
  const response = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(told.detail || told.title || response.statusText);
  return told;
}
document.querySelectorAll('dialog .close').forEach((each) => {
  each.addEventListener('click', () => each.closest('dialog').close());
});

const why = document.getElementById('why');
const whyRules = document.getElementById('why-rules');
rows.addEventListener('click', async (event) => {
  const asked = event.target.closest('button.why');
  if (!asked) return;
  try {
    const told = await post('/api/why', { study_uid: asked.closest('tr').dataset.study });
    const lines = told.by.map((each) => `${each.rule}: ${each.scope}`);
    whyRules.replaceChildren(...(lines.length ? lines : [whyRules.dataset.none]).map((line) => {
      const item = document.createElement('li');
      item.textContent = line;
      return item;
    }));
    why.showModal();
  } catch (error) {
    said.textContent = error.message;
  }
});

const glass = document.getElementById('glass');
if (glass) {
  const fault = document.getElementById('glass-fault');
  const patient = document.getElementById('glass-patient');
  const form = document.getElementById('glass-form');
  document.getElementById('missing').addEventListener('click', () => {
    fault.textContent = '';
    glass.showModal();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      await post('/api/emergencies', {
        patient_id: patient.value,
        reason: document.getElementById('glass-reason').value,
        minutes: Number(document.getElementById('glass-minutes').value),
      });
      search.reset();
      document.getElementById('patient').value = patient.value;
      document.getElementById('fields').open = true;
      if (pictures) pictures.checked = kept(PICTURES, false) === true;
      form.reset();
      glass.close();
      seek();
    } catch (error) {
      fault.textContent = error.message;
    }
  });
}

// --- the viewer, ahead ------------------------------------------------------

// Whoever looks for a study opens it: its largest files are here by then. Not for who
// pays for each byte.
async function fetchAhead() {
  const answer = await fetch('/viewer/');
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const each of page.querySelectorAll('script[src], link[rel="stylesheet"]')) {
    const link = document.createElement('link');
    link.rel = 'prefetch';
    link.href = each.getAttribute('src') ?? each.getAttribute('href');
    document.head.append(link);
  }
}
if (rows.querySelector('a.open') && !navigator.connection?.saveData) {
  (window.requestIdleCallback ?? setTimeout)(() => { fetchAhead().catch(() => {}); });
}
