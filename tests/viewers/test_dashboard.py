#!/usr/bin/python3
"""The dashboard in a headless Chromium over a real msad that runs a real job: what it shows, by keyboard alone, in light and dark."""
import os

import viewers
import harness


def picture(name):
    return os.path.join(viewers.OUTPUT, 'dashboard-%s.png' % name)


class Dashboard(harness.Case):
    def setUp(self):
        viewers.need(viewers.CHROMIUM)
        viewers.packages()
        super().setUp()

    def follow(self, service, ct):
        """The page is open before anything comes and is never loaded again; what was seen until a result was shown."""
        token = [service.token] if service.token else []
        url = 'http://127.0.0.1:%d' % service.http_port
        light, dark = (picture(('token-' if token else '') + scheme) for scheme in ('light', 'dark'))
        with viewers.Browser('dashboard.mjs', url, light, dark, *token) as browser:
            browser.wait('empty')
            service.echo(aec='NOBODY', wanted=None)
            service.send(ct.folder)
            browser.wait('waiting')
            service.send(ct.report, tool='storescu')
            seen = browser.wait('done')
        job = service.jobs()[0]
        self.check_access(seen)
        self.check_walk(seen['walk'], job)
        self.assertEqual(seen['loads'], 1)
        return seen, job

    def check_access(self, seen):
        self.assertEqual(seen['errors'], [], 'errors in the page, or what its policy refused')
        self.assertEqual(seen['foreign'], [], 'requests to other hosts')
        for name, scheme in seen['schemes'].items():
            self.assertEqual(scheme['violations'], [], 'axe, ' + name)
        self.assertNotEqual(seen['schemes']['light']['ground'], seen['schemes']['dark']['ground'])
        self.assertNotIn(harness.CANARY, seen['text'])

    def check_walk(self, walk, job):
        name = job['id'][:8]
        self.assertEqual((walk['first'], walk['button'], walk['back']), ('Skip to the jobs', 'Show job ' + name, 'Show job ' + name))
        labels = ', '.join(s['label'] for s in job['segments'])
        self.assertRegex(walk['slice']['name'], r'^Key slice 1 of \d+ with the masks of %s$' % labels)
        self.assertRegex(walk['next']['name'], r'^Key slice 2 of ')
        self.assertNotEqual(walk['slice']['colours'], walk['next']['colours'])
        red, green, blue = walk['bare']['colours']
        self.assertTrue(red == green == blue > 0, 'without masks the slice is grey')
        self.assertGreater(max(walk['next']['colours']) - min(walk['next']['colours']), 0.1, 'masks are coloured')
        for segment in job['segments']:
            self.assertIn(segment['label'], walk['text'])
            self.assertIn('%.2f ml' % segment['volume_ml'], walk['text'])

    def test_a_job_from_its_images_to_its_result(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = harness.Phantom(self.path('ct'), '--modality', 'CT', '--rows', '256', '--cols', '256', '--slices', '40',
                             report=self.path('report.dcm'))
        seen, job = self.follow(service, ct)
        self.assertEqual(set(seen['states']) - {'receiving', 'queued', 'delivering'}, {'waiting for an annotation', 'running', 'succeeded'})
        self.assertTrue(any(' of ' in text for text in seen['progress']), seen['progress'])
        self.assertTrue(any(' left' in text for text in seen['progress']), seen['progress'])
        self.assertTrue(any('succeeded' in text for text in seen['news']), seen['news'])
        for text in ('ready', 'live', 'Disk free', job['id'][:8], 'called the AE title "NOBODY"', 'demo DEMO at 127.0.0.1:%d' % receiver.port):
            self.assertIn(text, seen['text'])
        self.assertEqual(seen['stored'], [0, 0, ''])
        print('pictures: %s %s' % (picture('light'), picture('dark')))

    def test_with_a_token(self):
        service = harness.Msad(self.path('msad'))
        said = harness.run_tool([os.path.join(harness.BUILD, 'msad'), 'token', 'create', 'viewer', '--scope', 'read,phi'],
                                env=service.environment)
        service.token = next(word for word in said.stdout.split() if word.startswith('msad_'))
        self.services.append(service)
        seen, _ = self.follow(service.start(), self.ct_with_report())
        self.assertEqual(seen['stored'], [0, 1, ''], 'the token is kept for the tab, and nowhere else')


if __name__ == '__main__':
    harness.main()
