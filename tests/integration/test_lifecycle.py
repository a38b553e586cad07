#!/usr/bin/python3
"""SIGTERM in each phase loses nothing and is over in time; SIGHUP brings all new settings into force, or none and says why;
the service manager is told what sd_notify(3) defines."""
import os
import signal
import socket
import subprocess
import time

import dul
import harness

DRAIN_S = 45  # 30 s are promised; the rest is the machine's


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path, self.said = path, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def messages(self):
        while True:
            try:
                self.said.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.said

    def wait(self, line, after=0):
        return harness.until('the service manager to be told %s' % line,
                             lambda: [m for m in self.messages()[after:] if line in m.split('\n')])[0]


def lines(message):
    return dict(line.split('=', 1) for line in message.split('\n'))


class Stopping(harness.Case):
    def term(self, service):
        start = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        return start

    def ended(self, service, start, wanted=0):
        """Its exit status, and that its time was kept."""
        roles = service.roles()
        self.assertEqual(service.process.wait(DRAIN_S), wanted)
        took = time.monotonic() - start
        service.process = None
        harness.until('the roles to end with core', lambda: not any(map(harness.alive, roles)), 10)
        return took

    def checkpointed(self, service):
        """Nothing is left in the write-ahead log: a copy of the folder is whole."""
        wal = os.path.join(service.storage, 'catalogue.sqlite-wal')
        self.assertTrue(not os.path.exists(wal) or os.path.getsize(wal) == 0)

    def test_while_idle(self):
        service = self.msad()
        self.ended(service, self.term(service))
        self.checkpointed(service)

    def test_before_a_worker_is_ready(self):
        service = harness.Msad(self.path('msad'))
        self.services.append(service)
        for _ in range(3):  # at whatever point of starting it comes
            service.environment.update(MSAD_DICOM_PORT='0', MSAD_HTTP_PORT='0')
            with open(service.log_path, 'ab') as log:
                # pylint: disable=consider-using-with  # waited for below
                service.process = subprocess.Popen([os.path.join(harness.BUILD, 'msad')], env=service.environment,
                                                           cwd=service.folder, stdout=log, stderr=log)
            harness.until('a role', service.roles)
            self.ended(service, self.term(service))
        self.assertNotIn('cannot_start', service.log())

    def test_an_object_in_flight_is_finished_and_an_idle_association_ends(self):
        service = self.msad()
        data = b'\1' * 50000
        with dul.Peer(service.dicom_port) as sender, dul.Peer(service.dicom_port) as idle:
            idle.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])])
            self.assertEqual(idle.echo(), 0)
            sender.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            sender.store_command(dul.CT_IMAGE, '2.25.11')
            sender.pdv(1, data[:10000], False, False)
            harness.until('both associations', lambda: service.metric('associations_open') == 2)
            start = self.term(service)
            harness.until('the listener to close', lambda: not harness.listening(service.dicom_port))
            with self.assertRaises(dul.Refused) as aborted:
                idle.read_pdu()
            self.assertEqual(aborted.exception.kind, 7)
            sender.pdv(1, data[10000:], False, True)
            self.assertEqual(sender.read_status(), 0, 'what is in flight is stored')
            self.ended(service, start)
        self.checkpointed(service)
        service.start()
        self.assertEqual(service.metric('catalogue_instances'), 1)

    def test_a_sender_that_never_pauses_is_cut_between_objects(self):
        service = self.msad()
        stored = 0
        with dul.Peer(service.dicom_port) as sender:
            sender.associate([(dul.CT_IMAGE, [dul.EXPLICIT_LE])])
            self.assertEqual(sender.store(dul.CT_IMAGE, '2.25.100', b'\1' * 2000), 0)
            stored += 1
            start = self.term(service)
            with self.assertRaises((dul.Refused, OSError)):
                while True:
                    self.assertEqual(sender.store(dul.CT_IMAGE, '2.25.%d' % (100 + stored), b'\1' * 2000 + b'%d' % stored), 0)
                    stored += 1
                    time.sleep(0.1)
            self.ended(service, start)
        service.start()
        self.assertEqual(service.metric('catalogue_instances'), stored, 'each Success is in the catalogue')

    def test_a_running_job_is_given_back_uncounted(self):
        receiver = self.receiver()
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        worker = harness.until('a worker', service.model_workers)[0]
        os.kill(worker, signal.SIGSTOP)
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('running')
        start = self.term(service)
        harness.until('the listener to close', lambda: not harness.listening(service.dicom_port))
        service.process.send_signal(signal.SIGTERM)  # a second one does not wait for the job
        self.assertLess(self.ended(service, start), DRAIN_S / 2)
        self.checkpointed(service)
        service.start()
        job = service.wait_job('succeeded')
        self.assertEqual(job['attempt'], 1, 'the try that the stop ended is not counted')
        self.assertEqual(len(receiver.wait_files(1)), 1)

    def test_a_job_that_can_be_finished_is(self):
        service = self.msad()
        ct = self.ct_with_report()
        worker = harness.until('a worker', service.model_workers)[0]
        os.kill(worker, signal.SIGSTOP)
        service.send(ct.folder, ct.report, tool='storescu')
        job = service.wait_job('running')
        start = self.term(service)
        harness.until('the listener to close', lambda: not harness.listening(service.dicom_port))
        os.kill(worker, signal.SIGCONT)
        self.ended(service, start)
        if 'id=%s done' % job['id'] not in service.log():
            self.skipTest('this machine needs longer for the job than the drain lasts')
        service.start()
        self.assertEqual(service.job(job['id'])['state'], 'succeeded')

    def test_in_the_middle_of_a_delivery(self):
        receiver = self.receiver('received', '--sleep-after', '4')
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        harness.until('the delivery to begin', lambda: receiver.stores() > 0)
        self.ended(service, self.term(service))
        self.assertEqual(receiver.stores(), 1)
        service.start()
        service.wait_job('succeeded')
        self.assertEqual(receiver.stores(), 1, 'it was waited for, and is not sent again')

    def test_two_at_once_in_the_middle_of_a_delivery(self):
        receiver = self.receiver('received', '--sleep-after', '30')
        service = self.msad(destinations=[receiver])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        harness.until('the delivery to begin', lambda: receiver.stores() > 0)
        start = self.term(service)
        harness.until('the first to be heard', lambda: 'core stopping' in service.log())
        service.process.send_signal(signal.SIGTERM)
        self.ended(service, start)
        receiver.stop()
        receiver.options = ()
        receiver.start()
        service.start()
        job = service.wait_job('succeeded')
        self.assertGreaterEqual(job['deliveries'][0]['attempt'], 2)


class Reloading(harness.Case):
    def settings(self, service, **changed):
        """The service's whole configuration as a file; the environment says only what no file does."""
        keys = {'storage.path': service.storage, 'work.workers': 1, 'work.threads': 1, 'dicom.port': service.dicom_port,
                'http.port': service.http_port, 'completeness.settle_ms': 300, 'completeness.prompt_settle_ms': 300,
                'delivery.retry_min_s': 1, 'delivery.retry_max_s': 1, 'result.report': 'false'}
        keys.update({k.replace('__', '.'): v for k, v in changed.items() if k != 'destinations'})
        text = ''
        for section in sorted({k.split('.')[0] for k in keys}):
            text += section + ':\n' + ''.join('  %s: %s\n' % (k.split('.')[1], v) for k, v in keys.items()
                                              if k.startswith(section + '.'))
        entries = ['  - {name: %s, ae_title: %s, host: 127.0.0.1, port: %d}\n' % (r.ae_title.lower(), r.ae_title, r.port)
                   for r in changed.get('destinations', [])]
        return text + ('destinations:\n' + ''.join(entries) if entries else '')

    def started(self):
        """A service whose settings are a file, and its manager."""
        self.manager = Manager(self.path('notify'))
        service = self.msad()
        service.stop()
        service.configure(self.settings(service))
        service.environment = {k: v for k, v in service.environment.items() if not k.startswith('MSAD_')}
        service.environment['NOTIFY_SOCKET'] = self.manager.path
        with open(service.log_path, 'ab') as log:
            # pylint: disable=consider-using-with  # ended by tearDown
            service.process = subprocess.Popen([os.path.join(harness.BUILD, 'msad'), *service.arguments], cwd=service.folder,
                                               env=service.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.manager.wait('READY=1')
        return service

    def reload(self, service, text):
        before = len(self.manager.messages())
        with open(service.arguments[1], 'w', encoding='utf-8') as file:
            file.write(text)
        service.process.send_signal(signal.SIGHUP)
        begun = lines(self.manager.wait('RELOADING=1', before))
        self.assertGreater(int(begun['MONOTONIC_USEC']), 0)
        return lines(self.manager.wait('READY=1', before))['STATUS']

    def test_the_manager_is_told(self):
        manager = Manager(self.path('notify'))
        service = harness.Msad(self.path('msad'))
        self.services.append(service)
        service.environment.update(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC='400000')
        service.start()
        self.assertIn('port %d' % service.dicom_port, lines(manager.wait('READY=1'))['STATUS'])
        harness.until('signs of life', lambda: manager.messages().count('WATCHDOG=1') >= 3)
        for pid in service.roles():
            with open('/proc/%d/environ' % pid, encoding='utf-8') as environment:
                self.assertNotIn('NOTIFY_SOCKET', environment.read(), 'roles have nothing to say to the manager')
        self.assertEqual(service.stop(), 0)
        manager.wait('STOPPING=1')

    def test_the_watchdog_is_for_this_process_only(self):
        manager = Manager(self.path('notify'))
        service = harness.Msad(self.path('msad'))
        self.services.append(service)
        service.environment.update(NOTIFY_SOCKET=manager.path, WATCHDOG_USEC='100000', WATCHDOG_PID='1')
        service.start()
        manager.wait('READY=1')
        harness.until('some turns of the loop', lambda: service.metric('ready') == 1)
        self.assertEqual(service.stop(), 0)
        manager.wait('STOPPING=1')
        self.assertEqual(manager.messages().count('WATCHDOG=1'), 0)

    def test_a_listener_on_another_port_and_a_new_destination(self):
        service = self.started()
        receiver = self.receiver()
        old, new = service.dicom_port, harness.free_port()
        with dul.Peer(old) as peer:
            peer.associate([(dul.VERIFICATION, [dul.IMPLICIT_LE])])
            said = self.reload(service, self.settings(service, dicom__port=new, dicom__ae_title='OTHER',
                                                      destinations=[receiver]))
            self.assertIn('OTHER takes DICOM on 127.0.0.1 port %d' % new, said)
            self.assertEqual(peer.echo(), 0, 'an association that stands goes on')
        self.assertFalse(harness.listening(old))
        service.dicom_port = new
        service.echo(aec='OTHER')
        service.echo(aec='MSAD', wanted=1)
        self.assertEqual([d['name'] for d in service.json('/v1/destinations')['destinations']], ['demo'])
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu', aec='OTHER')
        service.wait_job('succeeded')
        self.assertEqual(len(receiver.wait_files(1)), 1)

    def test_the_same_port_on_another_address(self):
        service = self.started()
        said = self.reload(service, self.settings(service, dicom__bind='0.0.0.0'))
        self.assertIn('takes DICOM on 0.0.0.0 port %d' % service.dicom_port, said)
        service.echo()
        said = self.reload(service, self.settings(service, dicom__bind='127.0.0.1'))
        self.assertIn('takes DICOM on 127.0.0.1', said)
        service.echo()

    def test_a_destination_that_came_back_gets_what_waited(self):
        service = self.started()
        receiver = self.receiver(start=False)
        self.reload(service, self.settings(service, destinations=[receiver]))
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('delivering')
        self.reload(service, self.settings(service))
        receiver.port = harness.free_port()
        receiver.start()
        self.reload(service, self.settings(service, destinations=[receiver]))
        service.wait_job('succeeded')
        self.assertEqual(len(receiver.wait_files(1)), 1)

    def refused(self, service, text, *words):
        said = self.reload(service, text)
        self.assertTrue(said.startswith('not reloaded: '), said)
        for word in words:
            self.assertIn(word, said)
        self.assertIn('not_reloaded', service.log())
        service.echo()
        self.assertEqual(service.get('/readyz').status, 200)

    def test_what_cannot_be_leaves_all_as_it_was(self):
        service = self.started()
        receiver = self.receiver(start=False)
        # Each comes with a change that would do alone: none of it must be in force afterwards.
        self.refused(service, self.settings(service, destinations=[receiver], dicom__prot='1'), 'line', 'dicom.port')
        self.refused(service, self.settings(service, destinations=[receiver], dicom__ae_title='OTHER', work__threads=2),
                     'work.threads', 'restart')
        self.refused(service, self.settings(service, destinations=[receiver], dicom__ae_title='OTHER') +
                     'rules:\n  - {modality: CT, prompts: skip}\n', 'rules', 'restart')
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen(1)
            taken = other.getsockname()[1]
            self.refused(service, self.settings(service, destinations=[receiver], dicom__port=taken), str(taken), 'in use')
        self.refused(service, self.settings(service, destinations=[receiver], dicom__bind='192.0.2.1'), '192.0.2.1')
        os.remove(service.arguments[1])
        service.process.send_signal(signal.SIGHUP)
        harness.until('a line about the file', lambda: 'No such file' in service.log())
        self.assertEqual(service.json('/v1/destinations')['destinations'], [])

    def test_while_a_job_runs(self):
        """Its results go where they were to go when it began."""
        service = self.started()
        receiver = self.receiver()
        self.reload(service, self.settings(service, destinations=[receiver]))
        worker = harness.until('a worker', service.model_workers)[0]
        os.kill(worker, signal.SIGSTOP)
        ct = self.ct_with_report()
        service.send(ct.folder, ct.report, tool='storescu')
        service.wait_job('running')
        other = self.receiver('other', ae_title='OTHER')
        self.reload(service, self.settings(service, destinations=[other, receiver]))
        os.kill(worker, signal.SIGCONT)
        service.wait_job('succeeded')
        self.assertEqual(len(receiver.wait_files(1)), 1)
        self.assertEqual(other.files(), [])


if __name__ == '__main__':
    harness.main()
