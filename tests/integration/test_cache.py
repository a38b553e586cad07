#!/usr/bin/python3
"""What the model made of a slice is kept over jobs, restarts and runs, and changes no result."""
import json
import os
import re

import harness


class Cache(harness.Case):
    def counts(self, service):
        """Of the last job that the log tells of."""
        found = re.findall(r'encoded=(\d+) from_memory=(\d+) from_disk=(\d+) damaged=(\d+)', service.log())
        return dict(zip(('encoded', 'memory', 'disk', 'damaged'), map(int, found[-1])))

    def annotate(self, service, uid, boxes, skip):
        service.annotate(harness.boxes_by_slice(uid, boxes))
        return service.wait_job('succeeded', skip=skip)

    def test_a_further_prompt_finds_what_was_made(self):
        service = self.msad()
        mr = self.mr_with_boxes()
        uid, labels = str(mr.headers[0].SeriesInstanceUID), sorted({b.label for b in mr.boxes})
        of = {label: [b for b in mr.boxes if b.label == label] for label in labels}
        self.assertGreaterEqual(len(labels), 2)
        folder = os.path.join(service.storage, 'embeddings')

        service.send(mr.folder)
        first = self.annotate(service, uid, of[labels[0]], [])
        counts = self.counts(service)
        self.assertGreater(counts['encoded'], 0)
        self.assertEqual(len(os.listdir(folder)), counts['encoded'])
        self.assertEqual(os.stat(folder).st_mode & 0o777, 0o700)
        candidates = first['segments'][0]['candidates']
        self.assertLess(candidates['chosen'], len(candidates['predicted_iou']))

        second = self.annotate(service, uid, of[labels[1]], [first['id']])
        self.assertGreater(self.counts(service)['memory'] + self.counts(service)['disk'], counts['encoded'] - 1)
        before = {s['label']: s['voxels'] for s in first['segments']}
        after = {s['label']: s['voxels'] for s in second['segments']}
        self.assertEqual(after[labels[0]], before[labels[0]])

        self.assertEqual(service.stop(), 0)
        for name in os.listdir(folder)[::2]:
            with open(os.path.join(folder, name), 'r+b') as file:
                file.seek(100)
                byte = file.read(1)
                file.seek(100)
                file.write(bytes([byte[0] ^ 1]))
        service.start()
        box = of[labels[0]][0]
        third = self.annotate(service, uid, [harness.Box(box.x0 + 2, box.y0 + 2, box.x1 - 2, box.y1 - 2, box.slice, 'extra')],
                              [first['id'], second['id']])
        counts = self.counts(service)
        self.assertGreater(counts['disk'], 0)
        self.assertGreater(counts['damaged'], 0)
        last = {s['label']: s['voxels'] for s in third['segments']}
        self.assertEqual([last[label] for label in labels], [after[label] for label in labels])

    def test_the_tool_gives_the_same_files_with_and_without(self):
        ct = self.ct_with_report()
        results, reports = [], []
        for options in ([], ['--cache', self.path('cache')], ['--cache', self.path('cache')]):
            out = self.path('out-%d' % len(results))
            harness.run_tool([os.path.join(harness.BUILD, 'msa'), 'segment', ct.folder, '--annot', ct.report,
                              '--json', self.path('found.json'), '--out', out, *options], 0, cwd=self.folder)
            with open(self.path('found.json'), encoding='utf-8') as file:
                report = json.load(file)
            self.assertEqual({s['label'] for s in report['segments']}, set(ct.labels))
            for segment in report['segments']:
                self.assertEqual(len(segment['candidates']['predicted_iou']), 4)
                self.assertEqual(segment['candidates']['chosen'], 0)  # boxes
                self.assertGreater(segment['mean_predicted_iou'], 0)
            reports.append(report['segments'])
            with open(os.path.join(out, 'seg.dcm'), 'rb') as file:
                results.append(file.read())
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])
        self.assertEqual(reports[0], reports[1])
        self.assertEqual(reports[0], reports[2])
        self.assertGreater(len(os.listdir(self.path('cache'))), 0)


if __name__ == '__main__':
    harness.main()
