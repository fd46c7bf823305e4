// Upload of DICOM files: one request for each, several at once, as STOW-RS takes them.

const section = document.getElementById('upload');
// More at once would only wait for each other: the node's disk is one.
const AT_ONCE = 3;
// Names that are shown; all are counted.
const SHOWN_MAX = 200;
const state = document.getElementById('upload-state');
const bar = document.getElementById('upload-progress');
const told = document.getElementById('upload-told');
const refused = document.getElementById('upload-refused');

let queue = [];
let running = new Set();
let counts = { total: 0, done: 0, stored: 0, refused: 0 };

const reasons = new Map();
section?.querySelectorAll('dt').forEach((each) => {
  reasons.set(Number(each.textContent), each.nextElementSibling.textContent);
});

function draw() {
  const under = [...running].reduce((sum, each) => sum + each.part, 0);
  bar.value = counts.total ? (counts.done + under) / counts.total : 0;
  const parts = [`${counts.done} ${section.dataset.of} ${counts.total}`, `${counts.stored} ${section.dataset.stored}`];
  if (counts.refused) parts.push(`${counts.refused} ${section.dataset.refused}`);
  told.textContent = parts.join(', ');
}

function refuse(file, reason) {
  counts.refused += 1;
  if (counts.refused > SHOWN_MAX) return;
  const item = document.createElement('li');
  item.textContent = `${file.name}: ${reason}`;
  refused.append(item);
}

// What the node says of the one instance (PS3.18 §10.5.3): why it was refused, or nothing.
function reasonOf(request) {
  if (request.status === 200) return null;
  let code = 0;
  let detail = '';
  try {
    const answer = JSON.parse(request.responseText);
    const failed = answer['00081198'] ?? answer['0008119A'];
    code = failed?.Value?.[0]?.['00081197']?.Value?.[0] ?? 0;
    if (request.status < 300 && !failed) return null;
    detail = answer.detail ?? answer.title ?? '';
  } catch {
    // no answer of the node's own
  }
  return (code && reasons.get(code)) || detail || reasons.get(0);
}

function send(file) {
  const boundary = `cut-${crypto.randomUUID()}`;
  const body = new Blob([
    `--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, file, `\r\n--${boundary}--\r\n`,
  ]);
  const request = new XMLHttpRequest();
  const entry = { request, part: 0 };
  running.add(entry);
  request.open('POST', '/dicom-web/studies');
  request.setRequestHeader('content-type', `multipart/related; type="application/dicom"; boundary=${boundary}`);
  request.setRequestHeader('accept', 'application/dicom+json');
  request.upload.addEventListener('progress', (event) => {
    entry.part = event.total ? event.loaded / event.total : 0;
    draw();
  });
  request.addEventListener('loadend', () => {
    running.delete(entry);
    if (entry.stopped) return;
    if (request.status === 401) {
      location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
      return;
    }
    const reason = request.status ? reasonOf(request) : reasons.get(-1);
    counts.done += 1;
    if (reason === null) counts.stored += 1;
    else refuse(file, reason);
    next();
  });
  request.send(body);
}

function next() {
  while (running.size < AT_ONCE && queue.length) send(queue.shift());
  draw();
  // What is new is shown, by the search as it stands.
  if (!running.size && counts.stored) {
    document.getElementById('search').dispatchEvent(new Event('input', { bubbles: true }));
  }
}

function add(files) {
  if (!files.length) return;
  if (!running.size && !queue.length) {
    counts = { total: 0, done: 0, stored: 0, refused: 0 };
    refused.replaceChildren();
  }
  state.hidden = false;
  counts.total += files.length;
  queue.push(...files);
  next();
}

// A folder that is dropped gives all its files; a browser reads it in parts.
async function walk(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((done, failed) => { entry.file(done, failed); }));
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    let part;
    do {
      part = await new Promise((done, failed) => { reader.readEntries(done, failed); });
      for (const each of part) await walk(each, found);
    } while (part.length);
  }
}

if (section) {
  const main = document.getElementById('main');
  const input = document.getElementById('files');
  input.addEventListener('change', () => {
    add([...input.files]);
    input.value = '';
  });
  document.getElementById('upload-stop').addEventListener('click', () => {
    counts.total -= queue.length + running.size;
    queue = [];
    for (const each of running) {
      each.stopped = true;
      each.request.abort();
    }
    running = new Set();
    draw();
  });
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    main.classList.add('dropping');
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) main.classList.remove('dropping');
  });
  document.addEventListener('drop', async (event) => {
    event.preventDefault();
    main.classList.remove('dropping');
    // The entries are gone once anything was waited for.
    const entries = [...event.dataTransfer.items].map((each) => each.webkitGetAsEntry?.());
    const files = [...event.dataTransfer.files];
    const found = [];
    for (const each of entries.filter(Boolean)) await walk(each, found);
    add(found.length ? found : files);
  });
  window.addEventListener('beforeunload', (event) => {
    if (running.size) event.preventDefault();
  });
}
