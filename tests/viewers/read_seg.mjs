// Decodes a segmentation as web viewers do and prints {segment label: {SOP Instance UID of the image: base64 of a byte a pixel}}.
// usage: read_seg.cjs dcmjs|cornerstone SEG SERIES_DIR   (bundled by viewers.py: the packages are modules that Node 18 cannot load as they are)
import { webcrypto } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { adaptersSEG } from '@cornerstonejs/adapters';
import { metaData } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';

const { BitArray, DicomMessage, DicomMetaDictionary } = dcmjs.data;
for (const name of ['log', 'warn', 'info', 'debug']) console[name] = () => {}; // stdout is ours
dcmjs.log.setLevel('silent');

// What browsers have and Node 18 has not.
globalThis.crypto ??= webcrypto;
globalThis.CustomEvent ??= class extends Event {
  constructor(type, options) { super(type, options); this.detail = options?.detail ?? null; }
};

const bytesOf = file => { const b = fs.readFileSync(file); return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength); };
const numbers = values => [].concat(values).map(Number);
const first = sequence => [].concat(sequence ?? [])[0];

function read(file) {
  const { dict } = DicomMessage.readFile(bytesOf(file));
  return DicomMetaDictionary.naturalizeDataset(dict);
}

/** The images of a series in the order of their positions. */
function readSeries(folder) {
  const images = fs.readdirSync(folder).map(name => read(path.join(folder, name)));
  const along = image => {
    const o = numbers(image.ImageOrientationPatient), p = numbers(image.ImagePositionPatient);
    return p[0] * (o[1] * o[5] - o[2] * o[4]) + p[1] * (o[2] * o[3] - o[0] * o[5]) + p[2] * (o[0] * o[4] - o[1] * o[3]);
  };
  return images.sort((a, b) => along(a) - along(b));
}

function add(found, label, uid, mask) {
  if (!mask.some(Boolean)) return; // an empty frame says the same as no frame
  const of = found[label] ??= {};
  if (of[uid]) throw new Error(`two masks of ${label} on one image`);
  of[uid] = Buffer.from(mask).toString('base64');
}

/** What dcmjs gives a viewer: the dataset and its bits; their meaning is read off the functional groups. */
function byDcmjs(file) {
  const seg = read(file), found = {}, size = seg.Rows * seg.Columns;
  const raw = new Uint8Array(first(seg.PixelData));
  const pixels = seg.BitsAllocated === 1 ? BitArray.unpack(raw) : raw;
  const labels = new Map([].concat(seg.SegmentSequence).map(s => [s.SegmentNumber, s.SegmentLabel]));
  [].concat(seg.PerFrameFunctionalGroupsSequence).forEach((groups, i) => {
    const uid = first(first(groups.DerivationImageSequence).SourceImageSequence).ReferencedSOPInstanceUID;
    const frame = pixels.subarray(i * size, (i + 1) * size);
    if (frame.length !== size) throw new Error(`frame ${i + 1} has ${frame.length} pixels`);
    if (seg.SegmentationType === 'LABELMAP') {
      for (const [number, label] of labels) if (number > 0) add(found, label, uid, frame.map(v => v === number));
    } else {
      const number = first(groups.SegmentIdentificationSequence).ReferencedSegmentNumber;
      add(found, labels.get(number), uid, frame.map(v => v > (seg.SegmentationType === 'FRACTIONAL' ? 127 : 0)));
    }
  });
  return found;
}

/** What Cornerstone asks of its host about an image. */
function answer(type, image) {
  if (!image) return undefined;
  const o = numbers(image.ImageOrientationPatient), spacing = numbers(image.PixelSpacing);
  switch (type) {
  case 'imagePlaneModule':
    return { imageOrientationPatient: o, rowCosines: o.slice(0, 3), columnCosines: o.slice(3), pixelSpacing: spacing,
      imagePositionPatient: numbers(image.ImagePositionPatient), rowPixelSpacing: spacing[0], columnPixelSpacing: spacing[1],
      rows: image.Rows, columns: image.Columns, frameOfReferenceUID: image.FrameOfReferenceUID };
  case 'generalSeriesModule':
    return { modality: image.Modality, seriesInstanceUID: image.SeriesInstanceUID, studyInstanceUID: image.StudyInstanceUID };
  case 'sopCommonModule': case 'generalImageModule':
    return { sopInstanceUID: image.SOPInstanceUID, sopClassUID: image.SOPClassUID, instanceNumber: image.InstanceNumber };
  case 'imagePixelModule':
    return { rows: image.Rows, columns: image.Columns, bitsAllocated: 16, bitsStored: 16, highBit: 15, samplesPerPixel: 1,
      pixelRepresentation: 0, photometricInterpretation: 'MONOCHROME2' };
  case 'instance':
    return image;
  default:
    return undefined;
  }
}

/** Label maps over the images, as Cornerstone's adapters make them in OHIF. */
async function byCornerstone(file, folder) {
  const images = new Map(readSeries(folder).map(image => ['image:' + image.SOPInstanceUID, image]));
  const metadataProvider = { get: (type, id) => answer(type, images.get(id)) };
  metaData.addProvider(metadataProvider.get, 10000);
  const made = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(
    [...images.keys()], bytesOf(file), { metadataProvider, tolerance: 1e-3 });
  const found = {}, all = [...images.values()];
  for (const layer of made.labelMapImages) layer.forEach((image, k) => {
    const values = image.voxelManager.getScalarData();
    for (const segment of made.segMetadata.data.filter(s => s?.SegmentNumber > 0))
      add(found, segment.SegmentLabel, all[k].SOPInstanceUID, Uint8Array.from(values, v => v === Number(segment.SegmentNumber)));
  });
  return found;
}

async function main([reader, file, folder]) {
  const found = reader === 'dcmjs' ? byDcmjs(file) : await byCornerstone(file, folder);
  process.stdout.write(JSON.stringify(found), () => process.exit(0)); // Cornerstone leaves timers
}

main(process.argv.slice(2)).catch(error => { console.error(String(error?.stack ?? error)); process.exit(1); });
