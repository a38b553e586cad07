#!/usr/bin/python3
"""What /metrics says after a job is what happened, reads as Prometheus wants it, and is what the dashboard of Grafana asks for."""
import json
import os
import re
import shutil
import subprocess

import harness

SAMPLE = re.compile(r'(msad_[a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')


class Metrics(harness.Case):
    def samples(self, service):
        """name and labels to value; checks the text format 0.0.4 on the way."""
        text = service.get('/metrics').body.decode()
        if shutil.which('promtool'):
            checked = subprocess.run(['promtool', 'check', 'metrics'], input=text, text=True, capture_output=True, check=False)
            self.assertEqual((checked.returncode, checked.stderr), (0, ''))
        kinds, found = {}, {}
        for line in text.splitlines():
            if line.startswith('# TYPE '):
                _, _, name, kind = line.split(' ')
                self.assertNotIn(name, kinds)
                kinds[name] = kind
            elif not line.startswith('# HELP '):
                match = SAMPLE.fullmatch(line)
                self.assertIsNotNone(match, line)
                family = match[1] if match[1] in kinds else re.sub('_(bucket|sum|count)$', '', match[1])
                self.assertIn(family, kinds, line)
                found[match[1], match[2] or ''] = float(match[3])
        for name in (n for n, kind in kinds.items() if kind == 'histogram'):
            buckets = [v for (n, _), v in found.items() if n == 'msad_%s_bucket' % name[5:]]
            self.assertEqual(buckets, sorted(buckets), name)
            self.assertEqual(buckets[-1], found[name + '_count', ''], name)
        return found

    def test_after_a_job(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        before = self.samples(service)
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.echo(aec='WRONG', wanted=1)
        service.wait_job('succeeded')
        harness.until('the refusal', lambda: self.samples(service)['msad_refusals_total', ''] >= 1)
        after = self.samples(service)

        def grown(name, labels=''):
            return after[name, labels] - before[name, labels]
        sent = len(harness.dicom_files(ct.folder)) + 1
        self.assertEqual(grown('msad_instances_stored_total'), sent)
        self.assertEqual(grown('msad_commit_seconds_count'), sent)
        self.assertGreater(grown('msad_commit_seconds_sum'), 0)
        self.assertGreater(grown('msad_received_bytes_total'), sum(os.path.getsize(p) for p in harness.dicom_files(ct.folder)) * 0.9)
        self.assertEqual(grown('msad_engine_slice_seconds_count'), 1)
        self.assertGreater(grown('msad_engine_slices_total'), 0)
        self.assertEqual(grown('msad_destination_tries_total', 'destination="demo",result="delivered"'), 1)
        self.assertEqual(grown('msad_destination_tries_total', 'destination="demo",result="retry"'), 0)
        self.assertEqual(after['msad_destination_circuit', 'destination="demo"'], 0)
        self.assertEqual(after['msad_jobs', 'state="succeeded"'], 1)
        self.assertGreater(after['msad_disk_free_bytes', ''], 0)

    def test_ages_of_what_waits(self):
        receiver = self.receiver(start=False)
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('delivering')
        harness.until('an age', lambda: self.samples(service)['msad_jobs_oldest_age_seconds', 'state="delivering"'] > 0)
        self.assertEqual(self.samples(service)['msad_jobs_oldest_age_seconds', 'state="running"'], 0)
        harness.until('a failed try', lambda: self.samples(service)['msad_destination_tries_total',
                                                                    'destination="demo",result="retry"'] >= 3)
        harness.until('the circuit', lambda: self.samples(service)['msad_destination_circuit', 'destination="demo"'] > 0)

    def test_the_dashboard_asks_for_what_there_is(self):
        receiver = self.receiver(start=False)
        service = self.msad(destinations=[receiver])
        known = {name for name, _ in self.samples(service)}
        with open(os.path.join(harness.ROOT, 'config', 'grafana-dashboard.json'), encoding='utf-8') as file:
            dashboard = json.load(file)
        asked = set()
        for panel in dashboard['panels']:
            self.assertTrue(panel['title'] and panel['targets'])
            for target in panel['targets']:
                names = set(re.findall(r'msad_[a-z_]+', target['expr']))
                self.assertTrue(names, target['expr'])
                self.assertEqual(target['expr'].count('('), target['expr'].count(')'), target['expr'])
                asked |= names
        self.assertLessEqual(asked, known)
        ids = [p['id'] for p in dashboard['panels']]
        self.assertEqual(len(ids), len(set(ids)))


if __name__ == '__main__':
    harness.main()
