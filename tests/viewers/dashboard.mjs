// Opens the dashboard in a headless Chromium and does what a user does, by keyboard; says one JSON object a line.
// usage: dashboard.mjs URL LIGHT.png DARK.png [TOKEN]   (run by viewers.py)
//   {"step": "empty"}     nothing is listed yet, and the page follows the events
//   {"step": "waiting"}   a job that waits for an annotation is shown
//   {"step": "done", ...} a job has ended, its result was looked at: what was seen
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [url, light, dark, token] = process.argv.slice(2);
const deadline = 1000 * Number(process.env.MSAD_TEST_DEADLINE_S ?? 120);
const axe = createRequire(import.meta.url)('axe-core').source;
const say = object => new Promise(done => process.stdout.write(JSON.stringify(object) + '\n', done));

// ---- in the page ----

/** From now on: every state, progress and announcement that is shown. */
function record() {
  const seen = window.seen = { states: [], progress: [], news: [] };
  const note = (list, text) => { if (text && !list.includes(text)) list.push(text); };
  const look = () => {
    for (const row of document.querySelectorAll('#jobs tr[data-key], #results tr[data-key]')) note(seen.states, row.cells[2].textContent);
    for (const bar of document.querySelectorAll('progress')) if (bar.max > 1) note(seen.progress, bar.nextElementSibling.textContent);
    note(seen.news, document.getElementById('news').textContent);
  };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}

/** What has the focus: its id, else its name for a screen reader, else its text. */
const focused = () => document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim();
/** The slice shown: its name, and the mean of each channel. */
function slice() {
  const canvas = document.getElementById('slice');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const sums = [0, 0, 0];
  for (let i = 0; i < data.length; i++) if (i % 4 < 3) sums[i % 4] += data[i];
  return { name: canvas.getAttribute('aria-label'), colours: sums.map(s => 4 * s / data.length) };
}

// ---- the user ----

/** Playwright's waitForFunction would need eval, which the page's policy refuses. */
async function until(page, what, probe) {
  for (const end = Date.now() + deadline; Date.now() < end;) {
    if (await page.evaluate(probe)) return;
    await page.waitForTimeout(50);
  }
  throw new Error(`waited too long for ${what}`);
}

async function tabTo(page, wanted) {
  const passed = [];
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press('Tab');
    const name = await page.evaluate(focused);
    if (wanted(name)) return name;
    passed.push(name);
  }
  throw new Error(`the focus passes ${passed.join(' | ')} and nothing else`);
}

async function signIn(page) {
  await until(page, 'the focus on the token', () => document.activeElement.id === 'token');
  await page.keyboard.type('not a token');
  await page.keyboard.press('Enter');
  await until(page, 'a refusal', () => document.getElementById('sign-in-error').textContent !== '');
  await page.locator('#token').fill('');
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await page.locator('#sign-in').waitFor({ state: 'hidden' });
}

/** From the top of the page to the result and back, by keyboard alone. */
async function lookAtResult(page) {
  const walk = {};
  await page.evaluate(() => { // where tabbing begins on a fresh page
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute('tabindex');
  });
  await page.keyboard.press('Tab');
  walk.first = await page.evaluate(focused);
  await page.keyboard.press('Enter');
  await until(page, 'the focus on the jobs', () => document.activeElement.id === 'work');
  walk.button = await tabTo(page, name => name.startsWith('Show job'));
  await page.keyboard.press('Enter');
  await until(page, 'the result', () => document.activeElement.id === 'result' && !document.getElementById('slices').hidden);
  await tabTo(page, name => name === 'place');
  await page.keyboard.press('Home');
  walk.slice = await page.evaluate(slice);
  await page.keyboard.press('ArrowRight');
  walk.next = await page.evaluate(slice);
  await tabTo(page, name => name === 'masks');
  await page.keyboard.press('Space');
  walk.bare = await page.evaluate(slice);
  await page.keyboard.press('Space');
  walk.text = await page.locator('#result').innerText();
  return walk;
}

async function check(page, scheme, picture) {
  await page.emulateMedia({ colorScheme: scheme });
  await page.screenshot({ path: picture, fullPage: true });
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
  return { ground, violations: violations.map(v => `${v.id}: ${v.nodes.map(n => n.target.join(' ')).join(', ')}`) };
}

async function run(page) {
  const errors = [], foreign = [];
  let loads = 0;
  page.on('console', message => { if (message.type() === 'error' && !/status of 40[1]/.test(message.text())) errors.push(message.text()); });
  page.on('pageerror', error => errors.push(String(error)));
  page.on('domcontentloaded', () => loads++);
  page.on('request', request => { if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) foreign.push(request.url()); });
  await page.goto(url + '/');
  if (token) await signIn(page);
  await page.evaluate(record);
  await until(page, 'an empty page', () => document.getElementById('link').textContent === 'live' && /No job has ended/.test(document.getElementById('results').textContent));
  await say({ step: 'empty' });
  await until(page, 'a job that waits', () => /waiting for an annotation/.test(document.getElementById('jobs').textContent));
  await say({ step: 'waiting' });
  await until(page, 'a result', () => /succeeded/.test(document.getElementById('results').textContent));
  const walk = await lookAtResult(page);
  const schemes = { light: await check(page, 'light', light), dark: await check(page, 'dark', dark) };
  const text = await page.locator('body').innerText();
  await page.keyboard.press('Escape');
  await page.locator('#result').waitFor({ state: 'hidden' });
  walk.back = await page.evaluate(focused);
  const stored = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  await say({ step: 'done', ...await page.evaluate(() => window.seen), walk, schemes, text, errors, foreign, loads, stored });
}

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: ['--no-sandbox'] });
let status = 0;
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 800 } });
  page.setDefaultTimeout(deadline);
  await page.addInitScript({ content: axe });
  await run(page);
} catch (error) {
  console.error(error);
  status = 1;
}
await browser.close();
process.exit(status);
