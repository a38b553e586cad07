#!/usr/bin/python3
"""What is delivered is forgotten, files and rows, as the settings say; what is not delivered never is."""
import os

import harness


def stored_files(service):
    return [name for _, _, names in os.walk(os.path.join(service.storage, 'blobs')) for name in names]


class Retention(harness.Case):
    def big(self, name):
        return harness.Phantom(self.path(name), '--rows', '256', '--cols', '256', '--slices', '16', '--seed',
                               str(sum(map(ord, name))), report=self.path(name + '-report.dcm'))

    def test_delivered_is_forgotten_and_undelivered_is_not(self):
        receiver = self.receiver(start=False)
        service = self.msad(destinations=[receiver], retention_max_mib=1)
        ct = self.big('ct')
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('delivering')
        before = service.result(job)
        waiting = self.big('waiting')
        service.send(waiting.folder, tool='storescu')  # over the limit by itself
        service.wait_job('waiting_prompt', series_uid=waiting.series_uid)
        series = {s['series_instance_uid'] for s in service.json('/v1/series')['series']}
        self.assertEqual(series, {ct.series_uid, waiting.series_uid})
        receiver.start()
        harness.until('the delivered one to be forgotten', lambda: 'retention forgotten series=1' in service.log())
        self.assertEqual(harness.dataset_bytes(receiver.wait_files(1)[0]), harness.dataset_bytes(before))
        self.assertEqual([s['series_instance_uid'] for s in service.json('/v1/series')['series']], [waiting.series_uid])
        self.assertEqual(service.get('/v1/jobs/' + job['id']).status, 404)
        self.assertEqual(len(stored_files(service)), len(harness.dicom_files(waiting.folder)))
        # After a kill the same holds, and the same series again is new work that comes to the same bytes.
        service.kill()
        for path in receiver.files():
            os.remove(path)
        service.start()
        service.send(ct.folder, ct.report, tool='storescu')
        harness.until('the second delivery', lambda: service.log().count('outcome=delivered') == 2)
        self.assertEqual(harness.dataset_bytes(receiver.wait_files(1)[0]), harness.dataset_bytes(before))


if __name__ == '__main__':
    harness.main()
