#!/usr/bin/python3
"""Invariants 1, 4 and 10: kill -9 in any phase loses nothing and makes no second result; same input, same bytes."""
import os
import signal

import harness


class Restart(harness.Case):
    def finish(self, service, receiver, attempt=None):
        """After a restart: the job succeeds with one result, which lies at the receiver as REST serves it."""
        job = service.wait_job('succeeded')
        self.assertEqual(len(service.jobs()), 1)
        self.assertEqual(len(job['results']), 1)
        self.assertEqual(len(receiver.wait_files(1)), 1)
        self.assertEqual(harness.dataset_bytes(receiver.files()[0]), harness.dataset_bytes(service.result(job)))
        if attempt is not None:
            self.assertEqual(job['attempt'], attempt)
        return job

    def hold_worker(self, service):
        """Stops the worker that has the model, so that a job stays `running` until we let it go; returns its pid."""
        pids = harness.until('a worker with the model', service.model_workers)
        self.assertEqual(len(pids), 1)
        os.kill(pids[0], signal.SIGSTOP)
        return pids[0]

    def test_killed_after_send_before_index(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.kill()
        service.start()
        self.finish(service, receiver, attempt=1)

    def test_killed_while_receiving(self):
        """What was acknowledged before the kill is there after it; the rest is sent again and nothing is doubled."""
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        files = harness.dicom_files(ct.folder)
        service.send(*files[:len(files) // 2], tool='storescu')
        service.kill()
        service.start()
        service.send(ct.folder, ct.report, tool='storescu')
        self.finish(service, receiver)
        series = service.json('/v1/series')['series']
        self.assertEqual([s['instances'] for s in series], [len(files)])

    def test_core_killed_while_running(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        worker = self.hold_worker(service)
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('running')
        service.process.kill()
        os.kill(worker, signal.SIGCONT)
        service.kill()
        service.start()
        self.finish(service, receiver, attempt=2)

    def test_worker_killed_while_running(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        worker = self.hold_worker(service)
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('running')
        os.kill(worker, signal.SIGKILL)
        self.finish(service, receiver, attempt=2)
        self.assertNotIn(worker, service.roles('work'))

    def test_three_dead_workers_fail_the_job(self):
        service = self.msad()
        ct = self.big_ct_with_report()  # seconds of work, so that a kill meets the job while it runs
        service.send(ct.folder, ct.report, tool='storescu')
        for attempt in (1, 2, 3):
            harness.until('attempt %d' % attempt, lambda: [j for j in service.jobs() if j['state'] == 'running'
                                                           and j['attempt'] == attempt], pause_s=0.02)
            for worker in service.model_workers():
                os.kill(worker, signal.SIGKILL)
        job = service.wait_job('failed')
        self.assertEqual(job['attempt'], 3)
        self.assertIn('signal 9', job['reason'])
        self.assertEqual(service.get('/v1/jobs/%s/result' % job['id']).status, 409)
        self.assertGreaterEqual(service.metric('worker_crashes_total'), 3)
        # The pool is whole again: another job succeeds.
        other = self.ct_with_report('other')
        service.send(other.folder, other.report, tool='storescu')
        service.wait_job('succeeded', series_uid=other.series_uid)

    def test_killed_while_the_destination_is_down(self):
        receiver = self.receiver(start=False)
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        before = service.result(service.wait_job('delivering'))
        service.kill()
        service.start()
        receiver.start()
        job = self.finish(service, receiver, attempt=1)
        self.assertEqual(service.result(job), before)

    def test_killed_in_the_middle_of_a_delivery(self):
        receiver = self.receiver('received', '--sleep-after', '3')
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        harness.until('the delivery to begin', lambda: receiver.stores() > 0)
        service.kill()
        first = harness.dataset_bytes(receiver.wait_files(1)[0])
        service.start()
        self.finish(service, receiver, attempt=1)
        self.assertGreaterEqual(receiver.stores(), 2, 'it was sent again')
        self.assertEqual(harness.dataset_bytes(receiver.files()[0]), first)

    def test_sent_again_after_a_failed_delivery(self):
        receiver = self.receiver('received', '--abort-after')
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('delivering')
        before = service.result(job)
        harness.until('a failed try', lambda: service.job(job['id'])['deliveries'][0]['attempt'] >= 1
                      and service.job(job['id'])['deliveries'][0]['comment'])
        receiver.stop()
        for path in receiver.files():
            os.remove(path)
        receiver.options = ()
        receiver.start()
        job = self.finish(service, receiver)
        self.assertEqual(service.result(job), before)
        self.assertGreaterEqual(job['deliveries'][0]['attempt'], 2)

    def test_sigterm_while_running_gives_the_job_back(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job(('queued', 'running', 'delivering', 'succeeded'))
        self.assertEqual(service.stop(), 0)
        service.start()
        self.finish(service, receiver)

    def test_same_input_same_bytes_in_a_fresh_folder(self):
        ct = self.ct_with_report()
        results = []
        for name, threads in (('one', 1), ('two', 1), ('three', 2)):
            service = self.msad(name, work_threads=threads)
            service.send(*reversed(harness.dicom_files(ct.folder)) if name == 'two' else [ct.folder], tool='storescu')
            service.send(ct.report, tool='storescu')
            results.append(service.result(service.wait_job('succeeded')))
            service.stop()
        self.assertEqual(results[0], results[1], 'sent in another order')
        self.assertEqual(results[0], results[2], 'with two threads')


if __name__ == '__main__':
    harness.main()
