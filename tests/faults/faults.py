"""What the fault tests share: the plan and the log of the shim (shim.h), and the states a power cut may leave.

The model of a disk is POSIX's, no file system's: what is not synced may be there or not, in any order. Of a file: each
write since its last sync, torn at a sector or a page; of a folder: each change of a name since its last sync. A rename
is two changes. A sync covers what had ended when it began.
"""
import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'integration'))
BUILD = os.environ.get('MSAD_BUILD', os.path.join(os.path.dirname(os.path.dirname(HERE)), 'build'))
SHIM = os.path.join(BUILD, 'tests', 'faults', 'fault_shim.so')
DURABLE = os.path.join(BUILD, 'tests', 'faults', 'durable')
LONG = os.environ.get('MSAD_TEST_LONG') == '1'  # scripts/test --long
PLAN_BYTES, LOG_BYTES = 256, 256 << 20  # sparse
CREATE, MKDIR, WRITE, TRUNCATE, SYNC, SYNC_DIR, RENAME, LINK, UNLINK, SAID = range(1, 11)
CHANGES = (CREATE, MKDIR, WRITE, TRUNCATE, RENAME, LINK, UNLINK)
RECORD = struct.Struct('<IIQQII')


def scratch():
    """A folder in memory where there is such a place: the states are many, and no power is cut here."""
    return tempfile.mkdtemp(prefix='msad-faults-', dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else None)


class Plan:
    """The one fault that is to happen, in whichever process comes to it first."""

    def __init__(self, path):
        self.path, self.generation = path, 0
        with open(path, 'wb') as file:
            file.write(bytes(PLAN_BYTES))

    def set(self, call, k=1, action='kill', ending='*', process='*'):
        text = ('%s %s %d %s %s' % (call, ending, k, action, process)).encode()
        self.generation += 1
        with open(self.path, 'r+b') as file:  # in place: it is mapped; generation 0 while it changes
            file.seek(PLAN_BYTES - 8)
            file.write(bytes(8))
            file.flush()
            file.seek(0)
            file.write(text.ljust(PLAN_BYTES - 8, b'\0'))
            file.flush()
            file.write(struct.pack('<II', self.generation, 0))

    def fired(self):
        with open(self.path, 'rb') as file:
            return struct.unpack('<II', file.read()[-8:])[1] != 0


def environment(root, plan=None, log=None, skip=None):
    """For a program that is to meet its faults below `root`."""
    if log:
        with open(log, 'wb') as file:
            file.write(struct.pack('<Q', 8))
            file.truncate(LOG_BYTES)
    made = dict(os.environ, LD_PRELOAD=SHIM, FAULT_ROOT=root)
    made.update({name: value for name, value in (('FAULT_PLAN', plan and plan.path), ('FAULT_LOG', log),
                                                 ('FAULT_SKIP', skip)) if value})
    return made


class Op:
    """One record. at: where it stands in the log; until: of a sync, where it began."""

    def __init__(self, at, kind, pid, inode, offset, path, data):
        self.at, self.kind, self.pid, self.inode, self.offset = at, kind, pid, inode, offset
        self.path, self.data = path, data


def read_log(path):
    with open(path, 'rb') as file:
        data = file.read(struct.unpack('<Q', file.read(8))[0] - 8)
    ops, at = [], 0
    while at < len(data):
        kind, pid, inode, offset, path_size, size = RECORD.unpack_from(data, at)
        start = at + RECORD.size
        name = data[start:start + path_size].decode()
        ops.append(Op(at + 8, kind, pid, inode, offset, name, data[start + path_size:start + path_size + size]))
        at = start + path_size + size
    return ops


class Entry:
    """Of one name in a folder: what is on the disk, and changes that may be."""

    def __init__(self):
        self.durable, self.pending = None, []  # (op, target)


class File:
    def __init__(self):
        self.durable, self.pending = bytearray(), []  # ops


def apply(content, op, size=None):
    if op.kind == TRUNCATE:
        del content[op.offset:]
        content.extend(bytes(op.offset - len(content)))
        return
    data = op.data if size is None else op.data[:size]
    if len(content) < op.offset:
        content.extend(bytes(op.offset - len(content)))
    content[op.offset:op.offset + len(data)] = data


class Disk:
    """All that may be on the disk, op by op."""

    def __init__(self):
        self.folders = {'': {}}   # path to name to Entry; a folder's target is 'folder'
        self.files, self.by_inode = [], {}

    def entry(self, path):
        folder, _, name = path.rpartition('/')
        return self.folders.setdefault(folder, {}).setdefault(name, Entry())

    def target(self, path):
        entry = self.entry(path)
        return entry.pending[-1][1] if entry.pending else entry.durable

    def file(self, inode):
        """A worker's own files are made by stdio, which the shim does not see: they are not on the durable path, and
        what becomes of them goes into one that nobody finds."""
        return self.by_inode.setdefault(inode, File())

    def step(self, op):
        if op.kind == CREATE:
            made = File()
            self.files.append(made)
            self.by_inode[op.inode] = made
            self.entry(op.path).pending.append((op, made))
        elif op.kind == MKDIR:
            self.folders.setdefault(op.path, {})
            self.entry(op.path).pending.append((op, 'folder'))
        elif op.kind in (WRITE, TRUNCATE):
            self.file(op.inode).pending.append(op)
        elif op.kind in (RENAME, LINK):
            target = self.target(op.path)
            self.entry(op.data.decode()).pending.append((op, target))
            if op.kind == RENAME:
                self.entry(op.path).pending.append((op, None))
        elif op.kind == UNLINK:
            self.entry(op.path).pending.append((op, None))
        elif op.kind == SYNC:
            file = self.file(op.inode)
            for done in [p for p in file.pending if p.at < op.offset]:
                apply(file.durable, done)
            file.pending = [p for p in file.pending if p.at >= op.offset]
        elif op.kind == SYNC_DIR:
            for entry in self.folders.get(op.path, {}).values():
                done = [p for p in entry.pending if p[0].at < op.offset]
                if done:
                    entry.durable = done[-1][1]
                entry.pending = [p for p in entry.pending if p[0].at >= op.offset]

    def pending(self):
        """Every change that may be lost: (kind of thing, the thing, its ops)."""
        found = [(file, op) for file in self.files for op in file.pending]
        for entries in self.folders.values():
            found += [(entry, change[0]) for entry in entries.values() for change in entry.pending]
        return found

    def image(self, lost, torn=None):
        """The tree as it is when the changes `lost` are, as path to bytes, or to None for a folder; torn: (op, bytes of
        it that are there)."""
        tree, todo = {}, ['']
        while todo:
            folder = todo.pop()
            for name, entry in self.folders.get(folder, {}).items():
                target = entry.durable
                for op, to in entry.pending:
                    if (entry, op) not in lost:
                        target = to
                if target is None:
                    continue
                path = folder + '/' + name if folder else name
                if target == 'folder':
                    tree[path] = None
                    todo.append(path)
                    continue
                content = target.durable
                if target.pending:
                    content = bytearray(content)
                    for op in target.pending:
                        if (target, op) not in lost:
                            apply(content, op, torn[1] if torn and torn[0] is op else None)
                tree[path] = content
        return tree


def choices(disk, rng, several):
    """Some of the ways in which what is pending may be lost: (lost, torn)."""
    pending = disk.pending()
    everything = set(pending)
    yield set(), None
    if not pending:
        return
    yield everything, None
    names = {p for p in pending if isinstance(p[0], Entry)}
    yield names, None
    yield everything - names, None
    last = max(pending, key=lambda p: p[1].at)
    if last[1].kind == WRITE and len(last[1].data) > 512:
        for unit in (512, 4096):
            yield set(), (last[1], unit * rng.randint(0, (len(last[1].data) - 1) // unit))
    for file in {p[0] for p in pending if isinstance(p[0], File)}:  # dropped from some write on
        cut = rng.randint(0, len(file.pending) - 1)
        yield {(file, op) for op in file.pending[cut:]}, None
    for _ in range(several):
        yield set(rng.sample(pending, rng.randint(1, len(pending)))), None


class Checker:
    """Runs recovery and the checks of check.c on one state after another, in a folder of its own."""
    NEXT = hashlib.sha256(b'next').hexdigest()[:2]  # where check.c puts the object that it adds

    def __init__(self):
        self.root = scratch()
        # pylint: disable=consider-using-with  # ended by close()
        self.process = subprocess.Popen([DURABLE, 'check'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folders, self.busy = set(), set()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, storage, promises):
        """None, or what is wrong."""
        self.process.stdin.write('%d %s\n%s' % (len(promises), storage, ''.join(p + '\n' for p in promises)))
        self.process.stdin.flush()
        said = self.process.stdout.readline().strip()
        return None if said == 'ok' else said or 'the checker died'

    def lay(self, tree):
        """Makes the folder what the tree says. What the last one held is known, but for what recovery has added."""
        for folder in [f for f in self.folders if os.path.basename(f) in self.busy]:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                for entry in [e for e in entries if not e.is_dir()]:
                    os.unlink(entry.path)
        wanted = {path for path, content in tree.items() if content is None}
        for path in sorted(self.folders - wanted, reverse=True):
            os.rmdir(os.path.join(self.root, path))
        for path in sorted(wanted - self.folders):
            os.mkdir(os.path.join(self.root, path))
        self.busy = {'data', 'incoming', 'blobs', self.NEXT}
        for path, content in tree.items():
            if content is not None:
                self.busy.add(os.path.basename(os.path.dirname(path)))
                with open(os.path.join(self.root, path), 'wb') as file:
                    file.write(content)
        made = {'data', 'data/incoming', 'data/blobs'} | {'data/blobs/%02x' % shard for shard in range(256)}
        self.folders = wanted | made  # recovery makes those that are missing


def promises_of_lines(op):
    """What `durable live` says."""
    return op.data.decode().split('\n')[:-1]


def replay(log, checker, promises_of=promises_of_lines, storage='data', kinds=CHANGES + (SAID,), limit=None, seed=1,
           several=2):
    """Legal states after a power cut behind any record of these kinds, each recovered and checked; with a limit, behind
    some of them, drawn at random, so that there are about so many states. Returns how many were checked, and None or
    what was wrong with the last."""
    ops, rng = read_log(log), random.Random(seed)
    points = [i for i, op in enumerate(ops) if op.kind in kinds]
    wanted = set(points)
    if limit is not None:
        wanted = set(rng.sample(points, min(len(points), max(1, limit // 6))))
    disk, promises, states = Disk(), [], 0
    for index, op in enumerate(ops):
        disk.step(op)
        if op.kind == SAID:
            promises += promises_of(op)
        if index not in wanted:
            continue
        seen = set()
        for lost, torn in choices(disk, rng, several):
            key = (frozenset(lost), torn and torn[1])
            if key in seen:
                continue
            seen.add(key)
            checker.lay(disk.image(lost, torn))
            wrong = checker.ask(os.path.join(checker.root, storage), promises)
            states += 1
            if wrong:
                return states, 'after op %d of %d, %d changes lost%s: %s' % (
                    index, len(ops), len(lost), ', one torn' if torn else '', wrong)
    return states, None
