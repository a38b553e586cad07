#!/usr/bin/python3
"""REST changes what the service does: a job that runs is cancelled and tried again, a destination is asked for an echo."""
import os
import signal

import harness


class Rest(harness.Case):
    def say(self, msad, path, status=200):
        reply = msad.post(path, {})
        self.assertEqual(reply.status, status, reply.body[:300])
        return reply.json()

    def test_cancel_and_retry_a_running_job(self):
        receiver = self.receiver()
        msad = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        worker, = msad.model_workers()
        os.kill(worker, signal.SIGSTOP)  # the job begins, and goes no further
        msad.send(ct.folder, ct.report)
        job = msad.wait_job(states=('running',))
        cancelled = self.say(msad, '/v1/jobs/%s/cancel' % job['id'])
        self.assertEqual((cancelled['state'], cancelled['reason']), ('cancelled', 'cancelled over REST'))
        harness.until('another worker', lambda: msad.model_workers() not in ([], [worker]))
        self.assertIn('cancelled', msad.log())
        self.assertEqual(msad.metric('worker_crashes_total'), 0)
        again = self.say(msad, '/v1/jobs/%s/retry' % job['id'])
        self.assertEqual((again['id'], again['attempt']), (job['id'], 0))
        done = msad.wait_job(states=('succeeded', 'failed'))
        self.assertEqual((done['id'], done['state'], done['attempt']), (job['id'], 'succeeded', 1))
        seg = receiver.wait_files(1)[0]
        self.assert_found(ct, self.assert_valid_seg(seg))
        self.say(msad, '/v1/jobs/%s/retry' % job['id'], 409)

    def test_echo(self):
        receiver, gone = self.receiver(), self.receiver('gone', start=False, port=harness.free_port(), ae_title='GONE')
        msad = self.msad(destinations=[receiver, gone])
        reached = self.say(msad, '/v1/destinations/demo/echo')
        self.assertEqual((reached['destination'], reached['reached'], reached['dimse_status']), ('demo', True, '0000'))
        missed = self.say(msad, '/v1/destinations/gone/echo')
        self.assertEqual((missed['reached'], missed['dimse_status']), (False, None))
        self.assertTrue(missed['comment'])
        self.say(msad, '/v1/destinations/evil/echo', 404)  # only what the settings name


if __name__ == '__main__':
    harness.main()
