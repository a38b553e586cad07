#!/usr/bin/python3
"""What becomes of a result by what its destination says: delivered, tried again, given up, taken up again; and one dead
destination does not stop the others. Faults F21, F22, F23."""
import harness
import scp


class Delivery(harness.Case):
    def delivered(self, *destinations, **settings):
        """A service with one job whose result is on its way."""
        service = self.msad(destinations=destinations, **settings)
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job(('delivering', 'succeeded', 'failed'))
        return service

    def dead(self, service):
        return service.json('/v1/deliveries?state=dead')['deliveries']

    def circuit(self, service, name='scripted'):
        return [d['circuit'] for d in service.json('/v1/destinations')['destinations'] if d['name'] == name][0]

    def test_warnings_are_deliveries(self):
        for status in (0xb000, 0xb007, 0x0111):
            with self.subTest(hex(status)), scp.Scp([status]) as peer:
                service = self.msad('msad-%x' % status, destinations=[peer])
                ct = self.ct_with_report()
                service.send(ct.folder, ct.report, tool='storescu')
                delivery = service.wait_job('succeeded')['deliveries'][0]
                self.assertEqual((delivery['state'], delivery['attempt'], delivery['dimse_status']),
                                 ('delivered', 1, '%04X' % status))
                service.stop()

    def test_what_may_pass_is_tried_until_it_has(self):
        """Each comes once, then Success: the same object each time. A lost answer means that it is sent twice (F21)."""
        script = ['reject-transient', 'abort', 'drop', 0xa700, 0x0110, 0x0213, 0]
        with scp.Scp(script) as peer:
            service = self.delivered(peer)
            job = service.wait_job('succeeded')
            self.assertEqual([word for _, word in peer.tries], script)
            self.assertEqual(job['deliveries'][0]['attempt'], len(script))
            self.assertEqual(len(peer.stored), 2)
            self.assertEqual(peer.stored[0], peer.stored[1], 'byte for byte')
            self.assertEqual(peer.stored[0][1], harness.dataset_bytes(service.result(job)))
            self.assertEqual(self.circuit(service)['state'], 'closed')

    def test_what_does_not_pass_is_a_dead_letter_after_two(self):
        for word, status in ((0xa900, 'A900'), (0xc001, 'C001'), (0x0122, '0122'), (0x0124, '0124'), ('reject-permanent', None)):
            with self.subTest(str(word)), scp.Scp([word]) as peer:
                service = self.msad('msad-%s' % word, destinations=[peer])
                ct = self.ct_with_report()
                service.send(ct.folder, ct.report, tool='storescu')
                job = service.wait_job('failed')
                self.assertIn('scripted', job['reason'])
                self.assertEqual(len(peer.tries), 2)
                letter = self.dead(service)[0]
                self.assertEqual((letter['attempt'], letter['dimse_status']), (2, status))
                self.assertEqual(self.circuit(service)['state'], 'closed', 'an answer, though no good one')
                service.stop()

    def test_dead_letters_are_taken_up_again(self):
        with scp.Scp([0xc000, 0xc000, 0]) as peer:
            service = self.delivered(peer)
            job = service.wait_job('failed')
            letter = self.dead(service)[0]
            self.assertEqual(letter['id'], job['deliveries'][0]['id'])
            self.assertEqual(service.get('/v1/deliveries?state=dead&destination=other').json()['deliveries'], [])
            reply = service.post('/v1/deliveries/%s/requeue' % letter['id'], None)
            self.assertEqual((reply.status, reply.json()['state']), (200, 'pending'))
            job = service.wait_job('succeeded')
            self.assertEqual((job['reason'], len(peer.stored), self.dead(service)), (None, 1, []))
            reply = service.post('/v1/deliveries/%s/requeue' % letter['id'], None)
            self.assertEqual(reply.status, 409)
            self.assertIn('delivered', reply.json()['detail'])
            self.assertEqual(service.post('/v1/deliveries/none/requeue', None).status, 404)
            self.assertEqual(service.get('/v1/deliveries?state=lost').status, 400)

    def test_all_dead_letters_of_a_destination(self):
        with scp.Scp([0xc000]) as peer:
            service = self.msad(destinations=[peer])
            for name in ('one', 'two', 'three'):
                ct = self.ct_with_report(name)
                service.send(ct.folder, ct.report, tool='storescu')
            harness.until('three dead letters', lambda: len(self.dead(service)) == 3)
            first = service.json('/v1/deliveries?limit=2')
            rest = service.json('/v1/deliveries?limit=2&cursor=' + first['next_cursor'])
            self.assertEqual((len(first['deliveries']), len(rest['deliveries']), rest['next_cursor']), (2, 1, None))
            peer.script = [0]
            self.assertEqual(service.post('/v1/destinations/scripted/requeue', None).json(), {'requeued': 3})
            harness.until('three jobs to succeed', lambda: [j['state'] for j in service.jobs()] == ['succeeded'] * 3)
            self.assertEqual(service.post('/v1/destinations/nobody/requeue', None).status, 404)

    def test_a_dead_destination_does_not_stop_the_others(self):
        """And is not tried with every result that waits for it; when it is back, all come, in their order (F23)."""
        good = self.receiver()
        with scp.Scp(['hang']) as hanging:
            port = hanging.port
            service = self.msad(destinations=[hanging, good], delivery_timeout_s=3, delivery_retry_min_s=3600,
                                delivery_retry_max_s=3600)
            for name in ('one', 'two', 'three', 'four'):
                ct = self.ct_with_report(name)
                service.send(ct.folder, ct.report, tool='storescu')
            self.assertEqual(len(good.wait_files(4)), 4)
            harness.until('the circuit to open', lambda: self.circuit(service)['state'] == 'open')
            circuit = self.circuit(service)
            self.assertEqual(circuit['failures'], 3)
            self.assertIsNotNone(circuit['next_try_at'])
            self.assertTrue(circuit['comment'])
            tries = len(hanging.tries)
            self.assertEqual(tries, 3, 'four wait; three showed that it is dead')
            self.assertEqual(self.circuit(service, 'demo')['state'], 'closed')
            self.assertIn('circuit=open', service.log())
        # It is back, and a person says so: nothing waits for its hour any more.
        with scp.Scp([0], port) as peer:
            harness.until('the fourth to be pending alone', lambda: len(
                [d for d in service.json('/v1/deliveries?state=pending')['deliveries'] if d['attempt'] == 0]) == 1)
            service.post('/v1/destinations/scripted/requeue', None)
            harness.until('all jobs to succeed', lambda: [j['state'] for j in service.jobs()] == ['succeeded'] * 4)
            wanted = [j['results'][0]['sop_instance_uid'] for j in map(service.job, reversed([j['id'] for j in service.jobs()]))]
            self.assertEqual([uid for uid, _ in peer.stored], wanted, 'in the order in which they were made')
            self.assertEqual(self.circuit(service), {'state': 'closed', 'failures': 0, 'next_try_at': None, 'comment': None})

    def test_a_circuit_tries_again_by_itself(self):
        with scp.Scp(['reject-transient'] * 6 + [0]) as peer:
            service = self.delivered(peer)
            service.wait_job('succeeded')
            self.assertIn('circuit=closed', service.log())
            self.assertEqual(len(peer.tries), 7)


if __name__ == '__main__':
    harness.main()
