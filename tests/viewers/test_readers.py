#!/usr/bin/python3
"""The readers inside web viewers decode our segmentations to the same voxels as pydicom: dcmjs and Cornerstone's adapters."""
import base64
import json

import numpy as np
import pydicom

import viewers
import harness

LABEL_MAP_CLASS = '1.2.840.10008.5.1.4.1.1.66.7'


def by_pydicom(path):
    """{label: {SOP Instance UID of the image: mask}}, of any form, without empty masks."""
    seg = pydicom.dcmread(path)
    names = {s.SegmentNumber: s.SegmentLabel for s in seg.SegmentSequence if s.SegmentNumber > 0}
    found = {name: {} for name in names.values()}
    for frame, groups in zip(seg.pixel_array.reshape(-1, seg.Rows, seg.Columns), seg.PerFrameFunctionalGroupsSequence):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if seg.SOPClassUID == LABEL_MAP_CLASS:
            masks = {name: frame == number for number, name in names.items()}
        else:
            number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            masks = {names[number]: frame > (127 if seg.SegmentationType == 'FRACTIONAL' else 0)}
        for name, mask in masks.items():
            if mask.any():
                found[name][image] = mask
    return found


class Readers(harness.Case):
    def setUp(self):
        self.reader = viewers.bundle('read_seg.mjs')
        super().setUp()

    def read(self, how, path, phantom, shape):
        said = json.loads(harness.run_tool(['node', self.reader, how, path, phantom.folder]).stdout.splitlines()[-1])  # before it: warnings
        return {label: {uid: np.frombuffer(base64.b64decode(mask), np.uint8).reshape(shape).astype(bool)
                        for uid, mask in masks.items()} for label, masks in said.items()}

    def assert_same(self, wanted, got, what):
        self.assertEqual({label: set(masks) for label, masks in got.items()},
                         {label: set(masks) for label, masks in wanted.items()}, what)
        for label, masks in wanted.items():
            for uid, mask in masks.items():
                self.assertEqual(np.argwhere(mask != got[label][uid])[:1].tolist(), [], '%s: %s of %s' % (what, label, uid))

    def service(self, forms):
        """A service with one destination for each form; name to receiver."""
        receivers, config = {}, 'destinations:\n'
        for name, (lines, options) in forms.items():
            receivers[name] = self.receiver(name, *options, ae_title=name.upper())
            config += '  - name: "%s"\n    ae_title: "%s"\n    host: "127.0.0.1"\n    port: %d\n' % (
                name, name.upper(), receivers[name].port) + ''.join('    %s\n' % line for line in lines)
        service = harness.Msad(self.path('msad'), (), config)
        del service.environment['MSAD_DESTINATIONS']
        self.services.append(service)
        return service.start(), receivers

    def test_every_form(self):
        """Two that Cornerstone does not read: probabilities, and single bits where those of a frame end within a byte."""
        forms = {'binary': ([], []), 'deflated': (['format: "labelmap"', 'compression: "deflate"'], ['-pm', '+xd']),
                 'labelmap': (['format: "labelmap"'], ['-pm']), 'fractional': (['format: "fractional"'], [])}
        service, receivers = self.service(forms)
        read = {'pydicom': set(), 'dcmjs': set(), 'cornerstone': set()}
        for phantom in self.ct_with_report(), self.mr_with_boxes():  # 96 x 112, and 83 x 101
            service.annotate(phantom.boxes_by_slice())
            service.send(phantom.folder)
            job = service.wait_job('succeeded', series_uid=phantom.series_uid)
            made = {r['sop_instance_uid'] for r in job['results']}
            paths = {name: [p for p in receiver.files() if harness.read_uid(p) in made] for name, receiver in receivers.items()}
            wanted = by_pydicom(paths['binary'][0])
            self.assertEqual(set(wanted), set(phantom.labels))
            shape = phantom.headers[0].Rows, phantom.headers[0].Columns
            for name, found in paths.items():
                self.assertEqual(len(found), 1, name)
                for how, forms_read in read.items():
                    if how == 'cornerstone' and (name == 'fractional' or (name == 'binary' and shape[0] * shape[1] % 8)):
                        continue
                    got = by_pydicom(found[0]) if how == 'pydicom' else self.read(how, found[0], phantom, shape)
                    self.assert_same(wanted, got, '%s, %s' % (how, name))
                    forms_read.add(name)
        self.assertEqual(read, {'pydicom': set(forms), 'dcmjs': set(forms), 'cornerstone': set(forms) - {'fractional'}})


if __name__ == '__main__':
    harness.main()
