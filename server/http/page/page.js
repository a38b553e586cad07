// The dashboard: what is queued, running, done and refused. Reads /v1 and follows /v1/events; changes nothing.
'use strict';

const OPEN_STATES = ['running', 'delivering', 'queued', 'waiting_prompt', 'receiving'];
const MOODS = { succeeded: 'good', succeeded_empty: 'good', failed: 'bad', cancelled: 'none', running: 'busy', delivering: 'busy',
  queued: 'wait', waiting_prompt: 'wait', receiving: 'wait' };
const WORDS = { succeeded_empty: 'succeeded, nothing found', waiting_prompt: 'waiting for an annotation' };
const $ = id => document.getElementById(id);
const say = state => WORDS[state] ?? state;

/** An element with properties and children; texts are always texts. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter(child => child !== null));
  return element;
}

// ---- talking to the service ----

let token = sessionStorage.getItem('msad-token') ?? '';
let clockAhead = 0; // of this computer's clock, in ms: times are told by the service's

class NeedsToken extends Error {}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const reply = await fetch(path, { ...options, headers, cache: 'no-store' });
  if (reply.status === 401) throw new NeedsToken();
  const date = Date.parse(reply.headers.get('Date') ?? '');
  if (date) clockAhead = Date.now() - date;
  return reply;
}

/** JSON, or null where this token may not look or there is nothing. */
async function get(path) {
  const reply = await ask(path);
  if (reply.status === 403 || reply.status === 404) return null;
  if (!reply.ok) throw new Error((await reply.json().catch(() => ({}))).detail ?? `${path} answered ${reply.status}`);
  return reply.json();
}

/** Samples of /metrics: name with labels to number. */
async function metrics() {
  const reply = await ask('/metrics');
  if (!reply.ok) return new Map();
  const rows = (await reply.text()).split('\n').filter(row => row && !row.startsWith('#'));
  return new Map(rows.map(row => [row.slice(0, row.lastIndexOf(' ')).replace(/^msad_/, ''), Number(row.slice(row.lastIndexOf(' ') + 1))]));
}

// ---- words and figures ----

const now = () => Date.now() - clockAhead;

function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return s < 172800 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` : `${Math.floor(s / 86400)} days`;
}

const bytes = n => n >= 1e12 ? `${(n / 1e12).toFixed(1)} TB` : n >= 1e9 ? `${(n / 1e9).toFixed(1)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : `${Math.ceil(n / 1e3)} kB`;
const ago = text => `${span((now() - Date.parse(text)) / 1000)} ago`;
const time = text => text ? make('time', { dateTime: text, title: new Date(text).toLocaleString() }, ago(text)) : '';
const stateOf = job => make('span', { className: MOODS[job.state] ?? '' }, say(job.state));
const nameOf = job => make('code', { title: job.id }, job.id.slice(0, 8));

function imagesOf(job) {
  return `${job.modality ?? 'images'}, ${job.prompts} prompt${job.prompts === 1 ? '' : 's'}`;
}

// ---- lists: rows are kept by key, so that focus stays where it is ----

function fill(list, rows, empty) {
  const old = new Map([...list.children].map(row => [row.dataset.key, row]));
  const wanted = rows.map(({ key, text, build }) => {
    const row = old.get(key);
    if (row?.dataset.text === text) return row;
    const made = build();
    made.dataset.key = key;
    made.dataset.text = text;
    const held = row?.contains(document.activeElement);
    row?.replaceWith(made);
    if (held) made.querySelector('button')?.focus();
    return made;
  });
  if (wanted.length === 0) {
    const cells = list.tagName === 'TBODY' ? list.parentElement.tHead.rows[0].cells.length : 0;
    wanted.push(cells ? make('tr', {}, make('td', { colSpan: cells, className: 'none' }, empty)) : make('li', { className: 'none' }, empty));
  }
  for (const row of list.children) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, i) => { if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null); });
}

const progressOf = new Map(); // job id to {done, total, started_at}

function remaining({ done, total, started_at }) {
  if (!(done > 0 && total > 0 && started_at)) return '';
  return `, about ${span((now() - Date.parse(started_at)) / 1000 * (total - done) / done)} left`;
}

function progressCell(job) {
  if (job.state !== 'running') return make('td', {}, job.state === 'queued' && job.priority !== 'normal' ? job.priority ?? '' : '');
  const bar = make('progress', {});
  bar.setAttribute('aria-label', `Progress of job ${job.id.slice(0, 8)}`);
  const cell = make('td', {}, bar, ' ', make('span', {}));
  cell.dataset.job = job.id;
  showProgress(cell, { ...job.progress, started_at: job.started_at, ...progressOf.get(job.id) });
  return cell;
}

function showProgress(cell, progress) {
  const [bar, text] = cell.children;
  if (progress.total > 0) {
    bar.max = progress.total;
    bar.value = progress.done;
    text.textContent = `${progress.done} of ${progress.total}${remaining(progress)}`;
  } else {
    text.textContent = 'beginning';
  }
}

function jobRow(job) {
  const since = { running: job.started_at, queued: job.queued_at }[job.state] ?? job.created_at;
  return make('tr', {}, make('td', {}, nameOf(job)), make('td', {}, imagesOf(job)), make('td', {}, stateOf(job)), progressCell(job),
    make('td', {}, time(since)));
}

function foundOf(job) {
  const found = job.segments.filter(s => s.voxels > 0).map(s => `${s.label} ${s.volume_ml === null ? '' : `${s.volume_ml.toFixed(1)} ml`}`.trim());
  return found.length > 3 ? `${found.slice(0, 3).join(', ')} and ${found.length - 3} more` : found.join(', ');
}

function deliveriesOf(job) {
  const counts = {};
  for (const delivery of job.deliveries) counts[delivery.state] = (counts[delivery.state] ?? 0) + 1;
  return Object.entries(counts).map(([state, n]) => `${n} ${state}`).join(', ') || 'none';
}

function resultRow(job) {
  const button = make('button', { type: 'button', onclick: () => open(job.id) }, 'Show');
  button.setAttribute('aria-label', `Show job ${job.id.slice(0, 8)}`);
  return make('tr', {}, make('td', {}, nameOf(job), ' ', button), make('td', {}, imagesOf(job)), make('td', {}, stateOf(job)),
    make('td', {}, job.reason ?? foundOf(job)), make('td', {}, deliveriesOf(job)), make('td', {}, time(job.finished_at)));
}

/** Newest first; what one sender was told in the same words (twenty storage classes, say) is one. */
function refusalGroups(refusals) {
  const groups = new Map();
  for (const r of refusals) {
    const key = `${r.calling_ae} ${r.peer} ${r.reason}`;
    const group = groups.get(key) ?? { ...r, count: 0, whats: [] };
    group.count += r.count;
    if (r.what && !group.whats.includes(r.what)) group.whats.push(r.what);
    groups.set(key, group);
  }
  return [...groups.values()].slice(0, 20);
}

function refusalItem(r) {
  const whats = r.whats.length > 2 ? `${r.whats.slice(0, 2).join(', ')} and ${r.whats.length - 2} more` : r.whats.join(', ');
  const from = r.calling_ae ? `${r.calling_ae} (${r.peer ?? 'unknown'})` : r.peer ?? 'unknown';
  return make('li', {}, `${whats || 'refused'}, from ${from}: ${r.reason ?? ''} `, r.count > 1 ? `${r.count} times, last ` : '', time(r.at));
}

function troubleOf({ circuit }) {
  if (!circuit || circuit.state === 'closed') return '';
  return `: ${circuit.state === 'open' ? 'left alone for a while' : 'being tried'} after ${circuit.failures} failures${circuit.comment ? `, the last: ${circuit.comment}` : ''}`;
}

// ---- the whole page ----

function showFigures(m, ready) {
  const of = name => m.get(name) ?? 0;
  const rows = [['Running', of('jobs{state="running"}')], ['Queued', of('jobs{state="queued"}')],
    ['Waiting for an annotation', of('jobs{state="waiting_prompt"}')], ['Deliveries pending', of('deliveries_pending')],
    ['Deliveries given up', of('deliveries_dead')], ['Workers busy', `${of('workers_busy')} of ${of('workers')}`],
    ['Associations open', of('associations_open')]];
  if (m.has('disk_free_bytes')) rows.push(['Disk free', `${bytes(of('disk_free_bytes'))} of ${bytes(of('disk_size_bytes'))}`]);
  $('figures').replaceChildren(...rows.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, String(value)))));
  $('service').textContent = ready.ok ? 'ready' : ready.text;
  $('service').className = ready.ok ? 'good' : 'bad';
}

async function readiness() {
  const reply = await ask('/readyz');
  return { ok: reply.ok, text: reply.ok ? '' : (await reply.json().catch(() => ({}))).detail ?? 'not ready' };
}

const known = new Map(); // job id to state, for what is read aloud

function announce(jobs) {
  const news = jobs.filter(job => known.size > 0 && known.get(job.id) !== job.state).map(job => `Job ${job.id.slice(0, 8)}: ${say(job.state)}.`);
  for (const job of jobs) known.set(job.id, job.state);
  if (news.length > 0) $('news').textContent = news.slice(0, 3).join(' ');
}

async function refresh() {
  const lists = await Promise.all([...OPEN_STATES.map(state => get(`/v1/jobs?state=${state}&limit=20`)), get('/v1/jobs?limit=50')]);
  const recent = lists.pop()?.jobs ?? [];
  const open_jobs = lists.flatMap(list => list?.jobs ?? []);
  const done = recent.filter(job => !OPEN_STATES.includes(job.state)).slice(0, 25);
  const [m, ready, associations, destinations] = await Promise.all([metrics(), readiness(), get('/v1/associations?limit=200'), get('/v1/destinations')]);
  showFigures(m, ready);
  for (const id of progressOf.keys()) if (!open_jobs.some(job => job.id === id && job.state === 'running')) progressOf.delete(id);
  const rows = (jobs, build) => jobs.map(job => ({ key: job.id, text: JSON.stringify(job), build: () => build(job) }));
  fill($('jobs'), rows(open_jobs, jobRow), 'Nothing is waiting and nothing runs.');
  fill($('results'), rows(done, resultRow), 'No job has ended yet.');
  fill($('refusals'), refusalGroups(associations?.refusals ?? []).map(r => ({ key: `${r.calling_ae} ${r.peer} ${r.reason}`, text: JSON.stringify(r),
    build: () => refusalItem(r) })), 'Nothing was refused.');
  fill($('destinations'), (destinations?.destinations ?? []).map(d => ({ key: d.name, text: JSON.stringify(d),
    build: () => make('li', {}, make('strong', {}, d.name), ` ${d.ae_title} at ${d.host}:${d.port}`, troubleOf(d)) })), 'No destination is configured.');
  for (const shown of document.querySelectorAll('time')) shown.textContent = ago(shown.dateTime); // of rows that were kept
  announce([...open_jobs, ...done]);
}

// ---- one result ----

let pictures = null; // the sheet of slices of the job shown: left the image, right with its masks; one row a slice
let shownJob = '';
const urls = [];

async function picture(path) {
  const reply = await ask(path);
  if (!reply.ok) return null;
  const url = URL.createObjectURL(await reply.blob());
  urls.push(url);
  return url;
}

async function open(id) {
  const job = await get(`/v1/jobs/${id}`);
  if (!job) return;
  while (urls.length > 0) URL.revokeObjectURL(urls.pop());
  shownJob = id;
  pictures = null;
  $('result-title').textContent = `Job ${id.slice(0, 8)}: ${say(job.state)}`;
  $('result-reason').textContent = job.reason ?? '';
  $('warnings').replaceChildren(...job.warnings.map(text => make('li', {}, text)));
  $('segments').replaceChildren(segmentTable(job));
  $('downloads').replaceChildren(...job.results.map(result => downloadButton(id, result)));
  $('slices').hidden = $('sheet-part').hidden = true;
  $('result').hidden = false;
  $('result').focus();
  if (job.slices_href) await openSlices(job);
  if (job.preview_href) await openSheet(job);
}

function segmentTable(job) {
  if (job.segments.length === 0) return make('p', { className: 'none' }, 'No segment.');
  const head = ['Segment', 'Volume', 'Slices', 'Predicted IoU', 'Note'].map(text => make('th', { scope: 'col' }, text));
  const rows = job.segments.map(s => make('tr', {}, make('th', { scope: 'row' }, s.label),
    make('td', {}, s.voxels > 0 ? `${s.volume_ml?.toFixed(2) ?? '?'} ml` : 'nothing found'),
    make('td', {}, s.voxels > 0 ? `${s.first_slice} to ${s.last_slice}` : ''),
    make('td', {}, s.mean_predicted_iou?.toFixed(2) ?? ''), make('td', {}, s.note ?? '')));
  return make('table', {}, make('caption', { className: 'unseen' }, 'Segments'), make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...rows));
}

function downloadButton(id, result) {
  const name = `result ${result.number}`;
  return make('button', { type: 'button', onclick: async () => {
    const url = await picture(result.href);
    if (url) make('a', { href: url, download: `${id}-${result.number}.dcm` }).click();
  } }, `Download ${name} (${bytes(result.size_bytes)})`);
}

async function openSheet(job) {
  const url = await picture(job.preview_href);
  if (!url || shownJob !== job.id) return;
  $('sheet').src = url;
  $('sheet').alt = `Key slices of job ${job.id.slice(0, 8)} with the contours of ${job.segments.map(s => s.label).join(', ') || 'nothing'}`;
  $('sheet-part').hidden = false;
  $('sheet-part').open = $('slices').hidden;
}

async function openSlices(job) {
  const url = await picture(job.slices_href);
  if (!url || shownJob !== job.id) return;
  const image = make('img', { src: url });
  await image.decode();
  if (shownJob !== job.id) return;
  pictures = { image, side: image.naturalWidth / 2, n: Math.round(image.naturalHeight / (image.naturalWidth / 2)), labels: job.segments.map(s => s.label) };
  $('place').max = pictures.n;
  $('place').value = Math.ceil(pictures.n / 2);
  $('slices').hidden = false;
  drawSlice();
}

function drawSlice() {
  if (!pictures) return;
  const { image, side, n, labels } = pictures, k = Number($('place').value), masks = $('masks').checked;
  const canvas = $('slice');
  canvas.width = canvas.height = side;
  canvas.getContext('2d').drawImage(image, masks ? side : 0, (k - 1) * side, side, side, 0, 0, side, side);
  const text = `${k} of ${n}`;
  $('place-text').textContent = text;
  $('place').setAttribute('aria-valuetext', text);
  canvas.setAttribute('aria-label', `Key slice ${text}${masks ? ` with the masks of ${labels.join(', ')}` : ' without masks'}`);
}

function closeResult() {
  const button = [...$('results').children].find(row => row.dataset.key === shownJob)?.querySelector('button');
  $('result').hidden = true;
  shownJob = '';
  pictures = null;
  (button ?? $('work')).focus();
}

// ---- live ----

let due = null;

/** Soon, and once for all that happens until then. */
function soon() {
  due ??= setTimeout(async () => {
    due = null;
    try {
      await refresh();
    } catch (error) {
      trouble(error);
    }
  }, 250);
}

function trouble(error) {
  if (error instanceof NeedsToken) return askForToken();
  $('service').textContent = error instanceof TypeError ? 'the service does not answer' : error.message;
  $('service').className = 'bad';
}

function heard(kind, data) {
  if (kind !== 'progress') return soon();
  const progress = JSON.parse(data);
  progressOf.set(progress.id, progress);
  const cell = document.querySelector(`[data-job="${CSS.escape(progress.id)}"]`);
  if (cell) showProgress(cell, progress);
  else soon();
}

/** Reads server-sent events by hand: EventSource cannot show a token. */
async function follow(place) {
  const reply = await ask('/v1/events', place.id ? { headers: { 'Last-Event-ID': place.id } } : {});
  if (!reply.ok) throw new Error(`/v1/events answered ${reply.status}`);
  $('link').textContent = 'live';
  soon();
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').filter(line => line.includes(': ')).map(line => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]));
      if (fields.id) place.id = fields.id;
      if (fields.event) heard(fields.event, fields.data ?? '{}');
    }
  }
}

let signedIn = null; // resolves once a token was given

async function askForToken() {
  $('main').hidden = true;
  $('link').textContent = '';
  $('service').textContent = 'a token is needed';
  $('service').className = 'wait';
  if (token) $('sign-in-error').textContent = 'The service does not take this token.';
  sessionStorage.removeItem('msad-token');
  token = '';
  if ($('sign-in').hidden) {
    $('sign-in').hidden = false;
    $('token').focus();
  }
}

async function live() {
  const place = { id: '' };
  for (; ;) {
    try {
      await follow(place);
    } catch (error) {
      trouble(error);
      if (error instanceof NeedsToken) await new Promise(resolve => { signedIn = resolve; });
    }
    $('link').textContent = 'connecting again';
    await new Promise(resolve => setTimeout(resolve, 1000));
  }
}

$('sign-in').addEventListener('submit', async event => {
  event.preventDefault();
  token = $('token').value.trim();
  try {
    await get('/v1/jobs?limit=1');
  } catch (error) {
    return trouble(error);
  }
  sessionStorage.setItem('msad-token', token);
  $('token').value = $('sign-in-error').textContent = '';
  $('sign-in').hidden = true;
  $('main').hidden = false;
  $('work').focus();
  signedIn?.();
  soon();
});
$('close').addEventListener('click', closeResult);
$('result').addEventListener('keydown', event => { if (event.key === 'Escape') closeResult(); });
$('place').addEventListener('input', drawSlice);
$('masks').addEventListener('change', drawSlice);
setInterval(() => { if ($('main').hidden === false) soon(); }, 15000); // ages, disk, what no event tells
soon();
live();
