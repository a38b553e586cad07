#!/usr/bin/python3
"""Invariants 1, 2 and 4 on the durable path itself (live.c: blob, row, promise; job, result, delivery): killed at every
call that changes the disk, every such call failing, every allocation failing, and the power cut at any point.

After each: every promise is kept with equal bytes (I1), a job has the one result it had (I2), what is visible is whole
(I3), the catalogue is sound (I4), and it takes the next object. With --long (MSAD_TEST_LONG=1): 1,000 kills at random
moments, at least 10,000 states after a power cut.
"""
import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import unittest

import faults

SCHEMA = os.path.join(os.path.dirname(os.path.dirname(faults.HERE)), 'config', 'schema')
# Every sync of the durable path: who calls it, and what for. Without any one of them a power cut breaks a promise.
SYNCS = (
    ('durable:*.part', 'an object, before it gets its name'),
    ('durable:data/blobs/??', 'the folder in which it got its name'),
    ('durable:data/blobs', 'the folders made at the first start'),
    ('durable:data', 'incoming/ and blobs/ themselves'),
    ('durable:', 'the storage folder'),
    ('libsqlite3.so.0:*/catalogue.sqlite-wal', 'a commit'),
    ('libsqlite3.so.0:*/catalogue.sqlite', 'the database, before its log is used again'),
    ('libsqlite3.so.0:data', 'the log, as a name'),
)


class Durable(unittest.TestCase):
    def setUp(self):
        self.folder = faults.scratch()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.disk = os.path.join(self.folder, 'disk')
        self.storage = os.path.join(self.disk, 'data')
        self.plan = faults.Plan(os.path.join(self.folder, 'plan'))
        self.checker = faults.Checker()
        self.addCleanup(self.checker.close)
        self.promises, self.said = [], ''
        os.mkdir(self.disk)

    def live(self, objects, what='live', **environment):
        """One life; returns its exit status and adds what it promised."""
        done = subprocess.run([faults.DURABLE, what, self.storage, str(objects)], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, check=False, timeout=300,
                              env=faults.environment(self.disk, **environment))
        self.promises += done.stdout.split('\n')[:-1]
        self.said = done.stderr
        return done.returncode

    def check(self, what):
        wrong = self.checker.ask(self.storage, self.promises)
        self.assertIsNone(wrong, '%s: %s\nthe last promises: %s\n%s' % (what, wrong, self.promises[-3:], self.said))

    def fresh(self):
        shutil.rmtree(self.storage, ignore_errors=True)
        self.promises = []

    def prepared(self):
        """The storage folder after a life of four objects."""
        if not hasattr(self, 'model'):
            self.assertEqual(self.live(4), 0, self.said)
            self.model = os.path.join(self.folder, 'model'), list(self.promises)
            shutil.copytree(self.storage, self.model[0])
        else:
            shutil.copytree(self.model[0], self.storage)
            self.promises = list(self.model[1])

    def sweep(self, call, action, ending='*', first=1, stride=1, prepare=True):
        """One life for each call, until there are no more of them in a life; returns how many."""
        k = first
        while True:
            self.fresh()
            if prepare:
                self.prepared()
            self.plan.set(call, k, action, ending)
            status = self.live(4, plan=self.plan)
            if not self.plan.fired():
                self.assertEqual(status, 0, self.said)
                return (k - first) // stride
            what = '%s %d of %s: %s' % (action, k, call, status)
            self.assertIn(status, (-signal.SIGKILL,) if action in ('kill', 'half') else (0, 3), what + self.said)
            self.check(what)
            if faults.LONG or k % 5 == 0:
                self.assertEqual(self.live(2), 0, self.said)  # and goes on
                self.check('the life after ' + what)
            k += stride

    def test_killed_at_every_change_of_the_disk(self):
        """F2. A write is also cut in half."""
        kills = self.sweep('any', 'kill', stride=1 if faults.LONG else 6)
        kills += self.sweep('write', 'half', stride=1 if faults.LONG else 11)
        print('killed at %d calls' % kills)
        self.assertGreater(kills, 50)

    def test_killed_in_the_first_start(self):
        """The folders and the schema come to be."""
        kills = self.sweep('any', 'kill', stride=1 if faults.LONG else 29, prepare=False)
        print('killed at %d calls' % kills)
        self.assertGreater(kills, 10)

    def old_catalogue(self):
        """As the first version left it: schema 1, one series with one image."""
        self.fresh()
        os.mkdir(self.storage)
        database = sqlite3.connect(os.path.join(self.storage, 'catalogue.sqlite'))
        with open(os.path.join(SCHEMA, '0001_catalogue.sql'), encoding='utf-8') as script:
            database.executescript(script.read())
        database.executescript(
            "INSERT INTO series(series_uid, study_uid, modality, body_part, first_ms, last_ms)"
            " VALUES ('1.5', '1.9', 'CT', '', 1, 1); PRAGMA user_version = 1;")
        database.close()

    def test_killed_in_the_middle_of_a_migration(self):
        """F16: the next start finds the old schema or the new one, or one of those between as it shipped, and all rows."""
        k = kills = 1
        while True:
            self.old_catalogue()
            self.plan.set('any', k, 'kill')
            self.live(0, plan=self.plan)
            fired = self.plan.fired()
            self.said = ''
            self.assertIsNone(self.checker.ask(self.storage, []), 'killed at %d' % k)
            database = sqlite3.connect(os.path.join(self.storage, 'catalogue.sqlite'))
            self.assertEqual(database.execute('PRAGMA user_version').fetchone()[0], len(os.listdir(SCHEMA)))
            self.assertEqual(database.execute("SELECT modality FROM series WHERE series_uid = '1.5'").fetchone()[0], 'CT')
            database.close()
            if not fired:
                break
            k, kills = k + (1 if faults.LONG else 13), kills + 1
        print('%d kills' % kills)
        self.assertGreater(kills, 10)

    def test_killed_at_random_moments(self):
        """F1, with one life upon another: what a life promised holds in all that follow."""
        rounds, rng = 1000 if faults.LONG else 100, random.Random(6)
        for number in range(rounds):
            if number % 50 == 0:
                self.fresh()
            # pylint: disable=consider-using-with  # ended here
            life = subprocess.Popen([faults.DURABLE, 'live', self.storage, '1000'], stdout=subprocess.PIPE, text=True,
                                    stderr=subprocess.DEVNULL)
            first = [life.stdout.readline().strip() for _ in range(rng.randint(0, 8))]
            time.sleep(rng.random() * 0.01)
            life.kill()
            rest = life.stdout.read().split('\n')[:-1]
            life.wait()
            life.stdout.close()
            self.promises += first + rest
            self.said = ''
            self.check('killed %d' % number)
        print('%d kills' % rounds)

    def test_no_promise_after_a_failed_call(self):
        """F4, F5, F6: a full disk and a broken one, at each call of each kind; also when only close() says so."""
        total = 0
        for call, error in (('write', errno.ENOSPC), ('write', errno.EIO), ('sync', errno.EIO), ('sync', errno.ENOSPC),
                            ('rename', errno.EIO), ('open', errno.EMFILE), ('close', errno.EIO), ('close', errno.EDQUOT),
                            ('ftruncate', errno.EIO), ('unlink', errno.EIO)):
            stride = 1 if faults.LONG or call not in ('write', 'sync') else 11
            total += self.sweep(call, str(error), stride=stride)
        print('%d failed calls' % total)
        self.assertGreater(total, 50)

    def test_a_failed_sync_is_the_last(self):
        """F4: the life ends, and nothing is promised after it."""
        for ending in ('.part', 'catalogue.sqlite-wal'):
            self.fresh()
            self.plan.set('sync', 2, str(errno.EIO), ending)
            self.assertEqual(self.live(6, plan=self.plan), 3)
            self.assertLessEqual(len(self.promises), 2)
            self.check('a failed sync of ' + ending)

    def test_every_allocation_fails_once(self):
        """F9."""
        total = self.sweep('malloc', str(errno.ENOMEM), stride=1 if faults.LONG else 149)
        print('%d failed allocations' % total)
        self.assertGreater(total, 10)

    def test_power_cut_at_any_point(self):
        """F3."""
        log = os.path.join(self.folder, 'log')
        self.assertEqual(self.live(24 if faults.LONG else 8, log=log), 0, self.said)
        states, wrong = faults.replay(log, self.checker, limit=None if faults.LONG else 1200)
        self.assertIsNone(wrong)
        print('%d states after a power cut' % states)
        self.assertGreater(states, 10000 if faults.LONG else 800)

    def test_each_sync_is_needed(self):
        """G2: a life that leaves out one of them does not survive every power cut; this shows that the search finds it."""
        caught = {}
        for skip, what in SYNCS:
            with self.subTest(skip):
                self.fresh()
                log = os.path.join(self.folder, 'log-%d' % len(caught))
                # incoming/ and blobs/ are in one folder with the catalogue, whose syncs of it serve them as well
                self.assertEqual(self.live(8, 'blobs' if skip == 'durable:data' else 'live', log=log, skip=skip), 0)
                states, wrong = faults.replay(log, self.checker, kinds=(faults.SAID,))
                self.assertIsNotNone(wrong, 'nothing is lost without the sync of ' + what)
                caught[skip] = wrong
                print('without %-38s (%s): state %d, %s' % (skip, what, states, wrong))


if __name__ == '__main__':
    unittest.main(verbosity=2)
