"""What a person says of a job: cancel, retry, priority; ETag and If-Match; Idempotency-Key."""
import json

from http_case import Base, Server, main


class Control(Base):
    """A server for each test: they all change jobs."""

    def setUp(self):
        self.own = Server()
        self.addCleanup(lambda: self.assertEqual(self.own.stop(), 0))

    def job(self, job):
        response, data = self.own.ask('GET', '/v1/jobs/' + job)
        self.assertEqual(response.status, 200)
        value = json.loads(data)
        self.conforms(value, {'$ref': '/Job'}, 'Job')
        return value

    def say(self, job, what, status=200, part='', body=None, **headers):
        if body is not None:
            headers['Content-Type'] = 'application/json'
        response, data = self.own.ask('POST', f'/v1/jobs/{job}/{what}', body, {k.replace('_', '-'): v for k, v in headers.items()})
        if status >= 400:
            return self.problem(response, data, status, part)
        self.assertEqual(response.status, status, data)
        value = json.loads(data)
        self.conforms(value, {'$ref': '/Job'}, 'Job')
        self.assertEqual(value['id'], job)
        return value

    def finish(self, how):
        """Ends the job that is next in the queue; its id."""
        before = {j['id'] for j in json.loads(self.own.ask('GET', '/v1/jobs?state=queued')[1])['jobs']}
        self.own.tell('finish ' + how)
        for _ in range(400):
            left = {j['id'] for j in json.loads(self.own.ask('GET', '/v1/jobs?state=queued')[1])['jobs']}
            if left != before:
                return (before - left).pop()
        return self.fail('no job was claimed')

    def test_another_page_changes_nothing(self):
        """What a page on the web makes a browser send, which carries no token."""
        job, ours = self.own.jobs['queued'][0], f'127.0.0.1:{self.own.port}'
        for origin in ('https://example.org', 'null', '', 'http://localhost', ours, f'http://{ours}.example.org'):
            self.say(job, 'cancel', 403, 'another page', Origin=origin)
            self.assertEqual(self.own.ask('GET', '/v1/jobs', headers={'Origin': origin})[0].status, 200)
        self.say(job, 'cancel', Origin=f'http://{ours}')

    def test_cancel_and_retry(self):
        first, second = self.own.jobs['queued'][:2]
        cancelled = self.say(first, 'cancel')
        self.assertEqual((cancelled['state'], cancelled['reason']), ('cancelled', 'cancelled over REST'))
        self.assertIsNotNone(cancelled['finished_at'])
        self.say(first, 'cancel', 409, 'the job is cancelled: there is nothing to cancel')
        self.assertEqual(self.finish('done'), second)  # not the cancelled one
        again = self.say(first, 'retry')
        self.assertEqual((again['state'], again['attempt'], again['reason'], again['finished_at']), ('queued', 0, None, None))
        self.say(first, 'retry', 409, 'it has not ended')
        waiting = self.own.jobs['waiting'][0]
        self.assertEqual(self.say(waiting, 'cancel')['state'], 'cancelled')
        self.assertEqual(self.say(waiting, 'retry')['state'], 'waiting_prompt')
        self.say(self.own.jobs['receiving'][0], 'cancel', 409, 'hold the series instead')
        failed = self.own.jobs['failed'][0]
        self.assertEqual(self.say(failed, 'retry')['state'], 'queued')
        succeeded = self.own.jobs['succeeded'][0]
        self.say(succeeded, 'retry', 409, 'there is nothing to try again')
        self.say(succeeded, 'cancel', 409, 'the job is succeeded')
        for what in ('cancel', 'retry'):
            self.say('0' * 32, what, 404, 'there is no such job')

    def test_cancelled_while_it_runs(self):
        """Whoever works on it has lost it."""
        job = self.own.jobs['queued'][0]
        self.own.tell('claim')
        while self.job(job)['state'] != 'running':
            pass
        self.assertEqual(self.say(job, 'cancel')['state'], 'cancelled')
        self.own.tell('end')  # the worker brings its result
        self.own.changes()
        self.assertEqual((self.job(job)['state'], self.job(job)['results']), ('cancelled', []))
        self.own.tell('cancelled')
        self.assertEqual(self.own.process.stdout.readline().split()[1], job)  # and core was told to end it

    def test_delivering(self):
        job = self.own.jobs['queued'][0]
        self.own.tell('claim')
        self.own.tell('end')
        while self.job(job)['state'] != 'delivering':
            pass
        cancelled = self.say(job, 'cancel')
        self.assertEqual((cancelled['state'], [d['state'] for d in cancelled['deliveries']]), ('cancelled', ['cancelled']))
        again = self.say(job, 'retry')  # the result is there: it is only sent
        self.assertEqual((again['state'], [d['state'] for d in again['deliveries']], len(again['results'])), ('delivering', ['pending'], 1))

    def test_priority(self):
        first, second, third = self.own.jobs['queued'][:3]
        self.assertEqual(self.job(first)['priority'], 'normal')
        self.assertEqual(self.say(third, 'priority', body='{"priority": "urgent"}')['priority'], 'urgent')
        self.say(first, 'priority', body='{"priority": "background"}')
        self.assertEqual([self.finish('done') for _ in range(3)], [third, second, first])
        self.say(first, 'priority', 409, 'its turn is over', body='{"priority": "urgent"}')
        for body in ('', '{}', '[]', '{"priority": 1}', '{"priority": "high"}', '{"priority": "urgent", "x": 1}', '{"priority": "urgent", "priority": "normal"}'):
            self.say(second, 'priority', 400, 'urgent, normal or background', body=body)
        self.own.ask('POST', f'/v1/jobs/{second}/priority', 'x', {'Content-Type': 'text/plain'})

    def test_if_match(self):
        job = self.own.jobs['queued'][0]
        response, data = self.own.ask('GET', '/v1/jobs/' + job)
        seen = response.getheader('ETag')
        self.assertRegex(seen, '^"[0-9a-f]{64}"$')
        response, data = self.own.ask('GET', '/v1/jobs/' + job, headers={'If-None-Match': seen})
        self.assertEqual((response.status, data, response.getheader('ETag')), (304, b'', seen))
        self.say(job, 'priority', body='{"priority": "urgent"}', If_Match=seen)
        self.say(job, 'cancel', 412, 'the job is not as If-Match says: it is queued now', If_Match=seen)
        response, data = self.own.ask('GET', '/v1/jobs/' + job, headers={'If-None-Match': seen})
        self.assertEqual(response.status, 200)
        self.say(job, 'cancel', If_Match=response.getheader('ETag'))
        self.say(job, 'retry', If_Match='*')

    def test_repeated(self):
        failed = self.own.jobs['failed'][0]
        first = self.say(failed, 'retry', Idempotency_Key='k1')
        self.say(failed, 'cancel')
        again = self.say(failed, 'retry', Idempotency_Key='k1')  # the first answer, and nothing is done
        self.assertEqual(again, first)
        self.assertEqual(self.job(failed)['state'], 'cancelled')
        self.say(failed, 'cancel', 409, 'used for another request', Idempotency_Key='k1')
        self.say(failed, 'cancel', 409, 'nothing to cancel', Idempotency_Key='k2')
        self.say(failed, 'retry')
        self.say(failed, 'cancel', Idempotency_Key='k2')  # a refusal is not kept
        job = self.own.jobs['queued'][0]
        self.say(job, 'priority', body='{"priority":"urgent"}', Idempotency_Key='k3')
        self.say(job, 'priority', 409, 'used for another request', body='{"priority":"normal"}', Idempotency_Key='k3')
        for key in ('', 'a b', 'x' * 256, 'é'):
            self.say(failed, 'retry', 400, 'Idempotency-Key is not', Idempotency_Key=key)


if __name__ == '__main__':
    main()
