// Opens a study and its segmentation in OHIF, in a headless Chromium, as a user does, and prints what it shows as JSON.
// usage: ohif.mjs DIST ORTHANC_PORT STUDY_UID SEG_SERIES_NUMBER SOP_INSTANCE_UID OUT.png   (run by viewers.py)
//   labels     {segment number: label}
//   label_maps {SOP Instance UID of an image: base64 of a byte a pixel}: what OHIF decoded
//   errors     exceptions in the page
//   shown      the canvas at the image asked for: width, height, rows of 4 bytes a pixel with and without the
//              segmentation, and the patient's millimetres at three of its corners
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const [dist, orthanc, study, seriesNumber, sopInstanceUid, picture] = process.argv.slice(2);
const deadline = 1000 * Number(process.env.MSAD_TEST_DEADLINE_S ?? 120);
const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.json': 'application/json',
  '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.png': 'image/png' };

/** app-config.js: one data source, the PACS behind this server. */
const config = root => `window.config = { routerBasename: '/', extensions: [], modes: [], customizationService: [], showStudyList: true,
  maxNumberOfWebWorkers: 1, showCPUFallbackMessage: false, investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'pacs', dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'pacs',
    configuration: { friendlyName: 'PACS', name: 'pacs', wadoUriRoot: '${root}', qidoRoot: '${root}', wadoRoot: '${root}',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true } } }] };`;

function proxy(request, reply) {
  const ask = http.request({ host: '127.0.0.1', port: orthanc, method: request.method, path: request.url, headers: request.headers }, answer => {
    reply.writeHead(answer.statusCode, answer.headers);
    answer.pipe(reply);
  });
  ask.on('error', error => { reply.writeHead(502); reply.end(String(error)); });
  request.pipe(ask);
}

/** OHIF's files, and the PACS's DICOMweb under the same origin. */
function serve() {
  const server = http.createServer((request, reply) => {
    const root = `http://127.0.0.1:${server.address().port}/dicom-web`;
    const name = decodeURIComponent(new URL(request.url, root).pathname);
    if (name.startsWith('/dicom-web')) return proxy(request, reply);
    reply.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    reply.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    reply.setHeader('Content-Type', types[path.extname(name)] ?? (path.extname(name) ? 'application/octet-stream' : 'text/html'));
    if (name === '/app-config.js') return reply.end(config(root));
    const file = path.join(dist, path.normalize(name));
    const there = file.startsWith(dist) && fs.existsSync(file) && fs.statSync(file).isFile();
    if (!there) reply.setHeader('Content-Type', 'text/html');
    fs.createReadStream(there ? file : path.join(dist, 'index.html')).pipe(reply);
  });
  return new Promise(done => server.listen(0, '127.0.0.1', () => done(server)));
}

// ---- what runs in the page ----

/** The label maps that OHIF has decoded, from Cornerstone's cache; null while there are none. */
function readLabelMaps() {
  const segmentation = window.cornerstoneTools?.segmentation.state.getSegmentations()[0];
  const ids = segmentation?.representationData?.Labelmap?.imageIds;
  if (!ids?.length) return null;
  const labels = {}, maps = {};
  for (const [number, segment] of Object.entries(segmentation.segments)) if (Number(number) > 0) labels[number] = segment.label;
  for (const id of ids) {
    const image = window.cornerstone.cache.getImage(id);
    const of = window.cornerstone.metaData.get('sopCommonModule', image.referencedImageId).sopInstanceUID;
    const values = image.voxelManager.getScalarData();
    if (values.some(v => v > 0)) maps[of] = btoa(String.fromCharCode(...values));
  }
  return { labels, label_maps: maps };
}

/** Shows one image of the stack; the geometry of the canvas there. */
async function showImage(sop) {
  const viewport = window.services.cornerstoneViewportService.getRenderingEngine().getViewports()
    .find(v => v.getImageIds().some(id => window.cornerstone.metaData.get('sopCommonModule', id).sopInstanceUID === sop));
  const index = viewport.getImageIds().findIndex(id => window.cornerstone.metaData.get('sopCommonModule', id).sopInstanceUID === sop);
  await window.cornerstone.utilities.jumpToSlice(viewport.element, { imageIndex: index });
  const canvas = viewport.canvas, w = canvas.clientWidth, h = canvas.clientHeight;
  return { width: w, height: h,
    corners_mm: [[0, 0], [w, 0], [0, h]].map(p => Array.from(viewport.canvasToWorld(p))), voi: viewport.getProperties().voiRange };
}

/** The pixels of the canvas, after it was drawn with or without the segmentation. */
async function drawn(visible) {
  const viewport = window.services.cornerstoneViewportService.getRenderingEngine().getViewports()[0];
  const { segmentation } = window.cornerstoneTools;
  for (const shown of segmentation.state.getSegmentationRepresentations(viewport.id))
    segmentation.config.visibility.setSegmentationRepresentationVisibility(viewport.id, { segmentationId: shown.segmentationId, type: shown.type }, visible);
  await new Promise(done => {
    viewport.element.addEventListener(window.cornerstone.Enums.Events.IMAGE_RENDERED, done, { once: true });
    viewport.render();
  });
  const copy = document.createElement('canvas');
  copy.width = viewport.canvas.clientWidth;
  copy.height = viewport.canvas.clientHeight;
  const context = copy.getContext('2d');
  context.drawImage(viewport.canvas, 0, 0, copy.width, copy.height);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  let text = '';
  for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
  return btoa(text);
}

// ---- the user ----

/** The canvas once it changes no more: images and segmentations are drawn when they have come. */
async function settled(page, visible) {
  for (let before = null; ;) {
    const now = await page.evaluate(drawn, visible);
    if (now === before) return now;
    before = now;
    await page.waitForTimeout(300);
  }
}

async function picturesOf(page) {
  for (const end = Date.now() + deadline; Date.now() < end;) {
    const found = { without: await settled(page, false), with: await settled(page, true) };
    if (found.with !== found.without) return found;
  }
  throw new Error('the segmentation changes nothing on the canvas');
}

async function look(page, base) {
  const errors = [];
  await page.route('**/*', route => new URL(route.request().url()).hostname === '127.0.0.1' ? route.continue() : route.abort());
  page.on('pageerror', error => errors.push(String(error)));
  await page.goto(`${base}/segmentation?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
  const thumbnail = page.locator('[data-cy^="study-browser-thumbnail"]').filter({ hasText: `S:${seriesNumber}` }).first();
  await thumbnail.waitFor();
  const tour = page.getByText('Skip all').first();
  await page.addLocatorHandler(tour, () => tour.click());
  await thumbnail.dblclick();
  await page.getByText('Yes', { exact: true }).first().click(); // "Do you want to open this Segmentation?"
  const decoded = await (await page.waitForFunction(readLabelMaps, null, { polling: 200 })).jsonValue();
  const shown = await page.evaluate(showImage, sopInstanceUid);
  Object.assign(shown, await picturesOf(page));
  await page.screenshot({ path: picture });
  return { ...decoded, shown, errors };
}

const server = await serve();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'msad-chromium-'));
const browser = await chromium.launchPersistentContext(folder, { executablePath: '/usr/bin/chromium', headless: true, viewport: { width: 900, height: 640 },
  args: ['--no-sandbox', '--disable-background-networking', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'] });
let status = 0;
try {
  browser.setDefaultTimeout(deadline);
  const page = browser.pages()[0] ?? await browser.newPage();
  try {
    const seen = await look(page, `http://127.0.0.1:${server.address().port}`);
    await new Promise(done => process.stdout.write(JSON.stringify(seen) + '\n', done));
  } catch (error) {
    await page.screenshot({ path: picture }).catch(() => {});
    throw error;
  }
} catch (error) {
  console.error(error);
  status = 1;
} finally {
  await browser.close();
  fs.rmSync(folder, { recursive: true, force: true });
  process.exit(status);
}
