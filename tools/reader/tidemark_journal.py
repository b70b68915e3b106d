#!/usr/bin/env python3
"""Reads a Tidemark journal from its folder: a second implementation, as an oracle for the first one.

Written from docs/spec/journal.md, journal-index.md and replication.md alone, with Python's standard library; zstd bodies need the
`zstd` command. It only reads: a torn tail is reported, never cut.

    tidemark_journal.py check FOLDER [--acked SEQ]        exit 0: complete or torn tail, 1: corrupt
    tidemark_journal.py list FOLDER [--json]              checkpoints that the journal holds, oldest first
    tidemark_journal.py verify FOLDER                     every fault of segments, records, index and state files, a line each; exit 0: none, 1: some
    tidemark_journal.py image FOLDER --volume N --checkpoint ID --mirror MIRROR.raw --out FILE
"""
import argparse
import json
import shutil
import sys
from collections import Counter

sys.dont_write_bytecode = True
from journal_bytes import (ALIGNMENT, CODECS, CONTROL_FIELDS, MIB, SEGMENT_HEADER_BYTES, WITH_TABLE, Break, Corrupt, Folder,  # noqa: E402
                           Place, Refused, items_of, json_object, read_header, read_record)
from journal_verify import Verify  # noqa: E402


# ---- What the records add up to -----------------------------------------------------------------------------------------


BEING_COPIED = 2 ** 53 - 1


GENERATION_MARK = 'generation:'


def unmarked(session):
    return session.removeprefix(GENERATION_MARK) if session is not None else None


class State:
    """Replays records in order: stream position, base, syncs, checkpoints. `take` throws Corrupt where a rule is broken.

    `values` has the fields of a state record. The one at the start of the oldest segment is the beginning; each later one must
    repeat exactly what the records before it add up to.
    """

    def __init__(self, vpg_id):
        self.vpg_id, self.values, self.front_seq = vpg_id, None, 0
        self.open, self.held = {}, {}
        self.thinned = set()
        self.is_gap_allowed, self.sets = False, []
        self.committed_seq = self.committed_record_no = self.clock_ms = 0

    def __getitem__(self, name):
        return self.values[name]

    def take(self, record):
        where = f'record {record.header.recordNo} ({record.kind})'
        body = json_object(record.body, CONTROL_FIELDS[record.kind], where) if record.kind in CONTROL_FIELDS else items_of(record)
        if self.values is None:
            self._begin(record, body, where)
        elif self.is_new_generation and record.kind == 'state':
            self._take_over(body)
        self.is_new_generation = False
        self._check_numbers(record.header, where)
        if record.kind in ('frame', 'baseFrame', 'direct', 'scratch', 'kept'):
            self._check_stream(record, where)
        elif (record.header.firstSeq, record.header.lastSeq) != (0, self['lastSeq']):
            raise Corrupt(f'{where}: positions {record.header.firstSeq}..{record.header.lastSeq}, the stream ends at {self["lastSeq"]}')
        getattr(self, f'_take_{record.kind}')(record, body, where)

    def _take_over(self, body):
        """The first record of a new generation counts as it stands: it may know of whole records behind the break."""
        self.values = dict(body)
        promoted = body['promotionCheckpointId']
        self.held = {id_: held for id_, held in self.held.items()
                     if held['markerSeq'] >= body['retiredSeq'] and held['markerSeq'] > body['appliedSeq'] and promoted in (0, id_)}

    def _begin(self, record, body, where):
        if record.kind == 'scratch':
            self.values = {**dict.fromkeys(CONTROL_FIELDS['state'], 0), 'lastSeq': record.header.firstSeq - 1}
        elif record.kind == 'state':
            self.values, self.front_seq, self.sets = dict(body), body['lastSeq'], [(0, body['volumeBytes'])]
            self._check_volumes(where)
        else:
            raise Corrupt(f'{where}: the first record of a journal is a state')

    def _check_numbers(self, header, where):
        """What must never fall: durable positions and the clock; nor may a record say that it was itself durable."""
        if not self.committed_seq <= header.committedSeq <= self['lastSeq']:
            raise Corrupt(f'{where}: committedSeq {header.committedSeq} outside {self.committed_seq}..{self["lastSeq"]}')
        if not self.committed_record_no <= header.committedRecordNo < header.recordNo:
            raise Corrupt(f'{where}: committedRecordNo {header.committedRecordNo} after {self.committed_record_no}')
        if header.clockMs < self.clock_ms and self['epoch'] != 0:
            raise Corrupt(f'{where}: clockMs fell from {self.clock_ms} to {header.clockMs}')
        self.committed_seq, self.committed_record_no, self.clock_ms = header.committedSeq, header.committedRecordNo, header.clockMs

    def _check_stream(self, record, where):
        """Positions go on without a gap, except at the first record of an incarnation: then a sync is needed."""
        header = record.header
        if record.kind not in ('direct', 'kept') and header.count != header.lastSeq - header.firstSeq + 1:
            raise Corrupt(f'{where}: {header.count} stream records at {header.firstSeq}..{header.lastSeq}')
        if (header.incarnation, header.epoch) != (self['incarnation'], self['epoch']):
            raise Corrupt(f'{where}: of incarnation {header.incarnation}, epoch {header.epoch}')
        is_gap = header.firstSeq > self['lastSeq'] + 1
        if not self['lastSeq'] < header.firstSeq <= header.lastSeq or (is_gap and not self.is_gap_allowed):
            raise Corrupt(f'{where}: positions {header.firstSeq}..{header.lastSeq}, the stream ends at {self["lastSeq"]}')
        if is_gap:
            self.values['sync'] = 'needed'
        self.is_gap_allowed = False
        self.values['lastSeq'] = header.lastSeq

    def _take_state(self, record, body, where):
        differs = {name: (body[name], self[name]) for name in body if body[name] != self[name]}
        if differs:
            raise Corrupt(f'{where}: (it says, records before it say) {differs}')

    def _take_frame(self, record, items, where):
        for item in items:
            if item.type == 'syncStart':
                self.values.update(sync='running', sessionId=unmarked(self['sessionId']))
            elif item.type == 'syncEnd' and self['sync'] == 'running':
                self.values['sync'] = 'idle'
                self.values['volumeBaseSeqs'] = [item.seq if base == BEING_COPIED else base for base in self['volumeBaseSeqs']]
            elif item.type == 'marker' and self['sync'] == 'idle' and self['isBaseComplete'] and item.payload['vpgId'] == self.vpg_id:
                self.open[item.payload['checkpointId']] = {**item.payload, 'markerSeq': item.seq, 'incarnation': record.header.incarnation}
            elif item.type == 'seal':
                self._take_seal(record.header.incarnation, item.payload)
        if self['sync'] == 'idle':
            self.values['brokenReason'] = None

    _take_kept = _take_frame

    def _take_baseFrame(self, record, items, where):
        if self['isBaseComplete'] or all(item.type != 'syncEnd' for item in items):
            raise Corrupt(f'{where}: completes a base that is complete, or has no syncEnd')
        self.values['isBaseComplete'] = True
        self._take_frame(record, items, where)

    def _take_seal(self, incarnation, seal):
        marker = self.open.pop(seal['checkpointId'], None)
        if marker is None or seal['checkpointId'] in self.held or seal['checkpointId'] in self.thinned:
            return
        if (marker['incarnation'], marker['term'], marker['vpgId']) == (incarnation, seal['term'], seal['vpgId']):
            self.held[seal['checkpointId']] = marker

    def _take_incarnation(self, record, body, where):
        if record.header.incarnation <= self['incarnation']:
            raise Corrupt(f'{where}: number {record.header.incarnation} after {self["incarnation"]}')
        if body['sessionId'] != self['sessionId']:
            self.values['sync'] = 'needed'
        mark = GENERATION_MARK if (self['sessionId'] or '').startswith(GENERATION_MARK) else ''
        self.values.update(incarnation=record.header.incarnation, sessionId=mark + body['sessionId'])
        self.open, self.is_gap_allowed = {}, True

    def _take_epochReserve(self, _record, body, _where):
        self.values.update(reservedEpoch=body['epoch'], highestEpoch=max(self['highestEpoch'], body['epoch']))

    def _take_epochCommit(self, _record, body, _where):
        self.values.update(epoch=body['epoch'], reservedEpoch=0, isEnded=True)

    def _take_epochBurn(self, _record, body, _where):
        self.values.update(reservedEpoch=0, highestEpoch=max(self['highestEpoch'], body['epoch']))

    def _take_retire(self, _record, body, _where):
        self.values['retiredSeq'] = max(self['retiredSeq'], body['markerSeq'])
        for markers in (self.open, self.held):
            for checkpoint_id in [id_ for id_, marker in markers.items() if marker['markerSeq'] < body['markerSeq']]:
                del markers[checkpoint_id]

    def _take_thin(self, _record, body, _where):
        for checkpoint_id in body['checkpointIds']:
            self.held.pop(checkpoint_id, None)
            self.thinned.add(checkpoint_id)

    def _take_applied(self, _record, body, where):
        if not self['appliedSeq'] <= body['appliedSeq'] < self['retiredSeq']:
            raise Corrupt(f'{where}: {body["appliedSeq"]} after {self["appliedSeq"]}, retired below {self["retiredSeq"]}')
        self.values['appliedSeq'] = body['appliedSeq']

    def _take_direct(self, record, body, where):
        """Behind a complete base only records of volumes that are being added go that way: what the others have to apply stays."""
        self.values['sync'] = body['sync']
        if body['sync'] != 'needed':
            self.values['sessionId'] = unmarked(self['sessionId'])
        if body['sync'] == 'idle':
            self.values['brokenReason'] = None
        if not self['isBaseComplete']:
            self.values['appliedSeq'] = record.header.lastSeq
        elif BEING_COPIED not in self['volumeBaseSeqs']:
            raise Corrupt(f'{where}: behind a complete base, and no volume is being added')

    def _take_volumes(self, _record, body, where):
        known = len(self['volumeBaseSeqs'])
        before = self['volumeBytes']
        added = [BEING_COPIED if self['isBaseComplete'] else 0] * (len(body['volumeBytes']) - known)
        self.values.update(body, volumeBaseSeqs=self['volumeBaseSeqs'] + added, sync='needed')
        self._check_volumes(where)
        if any(new != 0 and new < old or old == 0 and new != 0 for old, new in zip(before, body['volumeBytes'])) or len(body['volumeBytes']) < known:
            raise Corrupt(f'{where}: {before} cannot become {body["volumeBytes"]}')
        self.open = {}
        self.sets = [each for each in self.sets if each[0] != self['lastSeq']] + [(self['lastSeq'], body['volumeBytes'])]

    def _check_volumes(self, where):
        disks, sizes, bases = (self[name] for name in ('volumeDisks', 'volumeBytes', 'volumeBaseSeqs'))
        if not len(disks) == len(sizes) == len(bases) or any(type(value) is not int or value < 0 for value in sizes + bases) or any(type(disk) is not str for disk in disks):
            raise Corrupt(f'{where}: volumes {disks}, {sizes}, {bases}')

    def volume_bytes_at(self, seq):
        """Sizes of the volumes in an image at this position."""
        return [sizes for after, sizes in self.sets if after < seq][-1]

    def _take_generation(self, _record, body, _where):
        session = self['sessionId']
        self.open = {}
        self.values.update(brokenReason=body['reason'], sync='needed', sessionId=None if session is None else GENERATION_MARK + unmarked(session))

    def _take_promotionStart(self, _record, body, _where):
        self.values.update(promotionCheckpointId=body['checkpointId'], isPromotionDone=False)
        self.open, self.held = {}, {id_: held for id_, held in self.held.items() if id_ == body['checkpointId']}

    def _take_promotionEnd(self, _record, body, _where):
        self.values.update(promotionCheckpointId=body['checkpointId'], isPromotionDone=True)

    def _take_scratch(self, _record, items, where):
        """Only scratch journals have such records, nothing else, and no epoch."""
        if self['epoch'] != 0 or [item.type in ('write', 'zeroes') for item in items] != [True]:
            raise Corrupt(f'{where}: in a journal of frames, or not one guest write')


# ---- The scan -----------------------------------------------------------------------------------------------------------


def text(zero_filled):
    return zero_filled.rstrip(b'\0').decode()


def verdict(*, committed, acked, clean_end, later):
    """The table "torn tail or corruption" of docs/spec/journal.md."""
    if committed or acked:
        return 'corrupt'
    if not clean_end:
        return 'torn tail'
    return 'corrupt' if later else 'complete'


def beginning_of(header, known):
    """Kinds of the records that must stand at the beginning of this segment for anything before it to be known; `known` is the generation before."""
    if known is None:
        return ['state'] if header.resumesSegment > 0 else ['state', 'generation'] if header.generation > 1 else []
    return ['state', 'generation'] if header.generation > known else []


class Scan:
    """Reads all records in order, `take` sees each; afterwards `verdict`, and for people `reason`."""

    def __init__(self, folder, *, take=None, acked_seq=0):
        self.folder, self.acked_seq, self.take = folder, acked_seq, take or (lambda record: None)
        self.first = next((segment.header for segment in folder.segments if segment.header), None)
        self.state, self.kinds, self.per_segment, self.codecs = State(text(self.first.vpgId) if self.first else ''), Counter(), Counter(), Counter()
        self.verdict, self.reason, self.cut = 'complete', '', None
        self.generation, self.missing = None, []
        try:
            self._read()
        except Corrupt as fault:
            self.verdict, self.reason = 'corrupt', str(fault)
        if self.missing:
            self.verdict, self.reason = 'corrupt', f'generation {self.generation} goes on here, and the records that it begins with are not there ({self.reason or "the end"})'
        if self.verdict == 'corrupt' and self.first is not None:
            self._keep_what_can_be_shown()

    def _read(self):
        segments = self.folder.segments
        place = None
        for index, segment in enumerate(segments):
            header = segment.header
            if header is None:
                raise Corrupt(f'segment {segment.number}: its header does not read')
            place = place or Place(header.salt, header.firstRecordNo, header.chainStart)
            self.missing = beginning_of(header, self.generation) or self.missing
            self.generation = header.generation
            self.state.is_new_generation = index > 0 and header.generation > segments[index - 1].header.generation
            if (header.salt, header.firstRecordNo, header.chainStart) != place:
                raise Corrupt(f'segment {segment.number} does not go on where segment {segments[index - 1].number} ends')
            place, end = self._read_segment(segment, place)
            if end is not None:
                return self._judge(index, end, place, clean_end=end == segment.size)
        self._judge_whole()

    def _read_segment(self, segment, place):
        """Where the next segment goes on, and the byte of a break in this one (None: it ends as it should)."""
        data = segment.read()
        if segment.end is not None:
            data = data[:segment.end]
        at = SEGMENT_HEADER_BYTES
        while at < len(data):
            try:
                record = read_record(data, at, place)
            except Break as fault:
                self.reason = f'segment {segment.number}, byte {at}: {fault}'
                return place, at
            if at == SEGMENT_HEADER_BYTES and record.kind not in ('state', 'scratch'):
                raise Corrupt(f'segment {segment.number} begins with a {record.kind}')
            self.state.take(record)
            self.take(record)
            self.kinds[record.kind] += 1
            self.codecs[CODECS[record.header.codec]] += record.kind in WITH_TABLE
            self.per_segment[segment.number] += 1
            self.missing = self.missing[1:] if self.missing[:1] == [record.kind] else self.missing
            place, at = Place(place.salt, record.header.recordNo + 1, record.header.chain), record.next
        try:
            return segment.place_behind(place), at if segment.end is not None and at != segment.end else None
        except Break as fault:
            self.reason = f'segment {segment.number}, byte {at}: {fault}'
            return place, at

    def _judge(self, index, at, place, *, clean_end):
        """The record at byte `at` of this segment is missing or broken: what lies behind it decides."""
        segment, later = self.folder.segments[index], self.folder.segments[index + 1:]
        found = [header for header in probe(segment.read(), at + ALIGNMENT, place.salt) if header.recordNo > place.recordNo]
        # A header that does not read was durable: for the missing record it counts as a word for it.
        committed = [each.header.committedRecordNo if each.header else place.recordNo for each in later]
        committed += [header.committedRecordNo for header in found]
        self.verdict = verdict(committed=max(committed, default=0) >= place.recordNo, acked=self._is_acked_missing(),
                               clean_end=clean_end, later=bool(found or later))
        if self.verdict == 'torn tail':
            self.cut = (segment.number, at, segment.size - at)

    def _is_acked_missing(self):
        return self.acked_seq > (self.state['lastSeq'] if self.state.values else 0)

    def _keep_what_can_be_shown(self):
        """What whole records tell anywhere, behind the break and in what a generation has cut off too: the mirrors may be further than the valid part."""
        state = self.state
        if state.values is None:
            return
        told = {'retiredSeq': state['retiredSeq'], 'appliedSeq': state['appliedSeq'], 'promotionCheckpointId': state['promotionCheckpointId']}
        for kind, body in self.folder.told(self.first.salt):
            for name, value in (('retiredSeq', body['markerSeq']),) if kind == 'retire' else body.items():
                if name in told:
                    told[name] = max(told[name], value)
        promoted = told['promotionCheckpointId']
        is_shown = told['appliedSeq'] >= state.front_seq
        state.held = {id_: held for id_, held in state.held.items()
                      if is_shown and promoted in (0, id_) and held['markerSeq'] >= told['retiredSeq'] and held['markerSeq'] > told['appliedSeq']}

    def _judge_whole(self):
        state = self.state
        if state.values is not None and state['appliedSeq'] < state.front_seq:
            raise Corrupt(f'the stream up to {state.front_seq} is missing in front, applied is {state["appliedSeq"]}')
        if verdict(committed=False, acked=self._is_acked_missing(), clean_end=True, later=False) == 'corrupt':
            raise Corrupt(f'{self.acked_seq} was acknowledged, the journal ends before it')


def probe(data, start, salt):
    """Headers of this journal's records at any multiple of 64 from `start` on."""
    headers = (read_header(data, at, salt) for at in range(start, len(data), ALIGNMENT))
    return [header for header in headers if header is not None]


# ---- Commands -----------------------------------------------------------------------------------------------------------


def print_check(scan):
    folder, first, state = scan.folder, scan.first, scan.state
    if first is not None:
        print(f'vpg {text(first.vpgId)}, vm {text(first.vmId)}')
    for segment in folder.segments:
        header = segment.header
        about = 'header does not read' if header is None else f'generation {header.generation}, from record {header.firstRecordNo}' + (', compacted' if segment.is_compacted else '')
        print(f'segment {segment.number}: {segment.size} bytes, {scan.per_segment[segment.number]} records, {about}')
    for note in folder.notes:
        print(f'note: {note}')
    for what, counts in (('records', scan.kinds), ('bodies of frames', scan.codecs)):
        print(f'{what}: ' + (', '.join(f'{name} {count}' for name, count in sorted(counts.items()) if count > 0) or 'none'))
    if state.values is not None:
        print('durable position: {lastSeq}, applied {appliedSeq}, retired {retiredSeq}, epoch {epoch}, incarnation {incarnation}, '
              'base complete {isBaseComplete}, ended {isEnded}, sync {sync}, promotion {promotionCheckpointId}'.format(**state.values))
        print(f'checkpoints: {len(state.held)}')
        for held in state.held.values():
            print(checkpoint_line(held))
    if scan.verdict == 'torn tail':
        number, at, size = scan.cut
        print(f'torn tail: segment {number} counts up to byte {at}, {size} bytes behind it do not ({scan.reason})')
    else:
        print(scan.verdict + (f': {scan.reason}' if scan.reason else ''))


def checkpoint_line(held):
    return (f'  {held["checkpointId"]} marker {held["markerSeq"]} incarnation {held["incarnation"]} term {held["term"]} '
            f'at {held["atMs"]} ms {held["kind"]} {held["tag"] or ""}').rstrip()


def check(options):
    scan = Scan(Folder(options.folder), acked_seq=options.acked)
    print_check(scan)
    return 1 if scan.verdict == 'corrupt' else 0


def verify(options):
    found = Verify(options.folder, scan=Scan, state=State)
    for line in found.faults + [f'note: {note}' for note in found.notes]:
        print(line)
    print(f'{len(found.segments)} segments: ' + (f'{len(found.faults)} faults' if found.faults else 'sound'))
    return 1 if found.faults else 0


def list_checkpoints(options):
    scan = Scan(Folder(options.folder))
    held = list(scan.state.held.values())
    print(json.dumps(held, indent=1) if options.json else '\n'.join(map(checkpoint_line, held)))
    return warn(scan)


def warn(scan):
    """Checkpoints before a break stay readable, so these commands go on; the exit code tells."""
    if scan.verdict == 'corrupt':
        print(f'corrupt: {scan.reason}', file=sys.stderr)
        return 1
    return 0


def image(options):
    folder = Folder(options.folder)
    scan = Scan(folder)
    held = scan.state.held.get(options.checkpoint)
    if held is None:
        raise Refused(f'the journal does not hold checkpoint {options.checkpoint}')
    if scan.state['promotionCheckpointId'] != 0:
        raise Refused('the mirrors are being promoted, or are: they hold writes of the recovered VM')
    sizes = scan.state.volume_bytes_at(held['markerSeq'])
    size = sizes[options.volume] if options.volume < len(sizes) else 0
    if size == 0:
        raise Refused(f'checkpoint {options.checkpoint} has no volume {options.volume}')
    base_seq = scan.state['volumeBaseSeqs'][options.volume]
    shutil.copyfile(options.mirror, options.out)
    with open(options.out, 'r+b') as out:
        if out.seek(0, 2) < size:
            raise Corrupt(f'the mirror ends at {out.tell()}, the volume at {size}')
        out.truncate(size)

        def take(record):
            if record.kind in ('frame', 'baseFrame', 'kept') and record.header.firstSeq < held['markerSeq']:
                for item in items_of(record):
                    if base_seq < item.seq < held['markerSeq'] and item.volume == options.volume:
                        write(out, size, item)
        Scan(folder, take=take)
    return warn(scan)


def write(out, size, item):
    if item.type not in ('write', 'zeroes', 'syncWrite', 'syncZeroes'):
        return
    if item.offset + item.length > size:
        raise Corrupt(f'stream record {item.seq} ends at {item.offset + item.length}, its volume at {size}')
    out.seek(item.offset)
    if item.payload:
        out.write(item.payload)
        return
    for at in range(0, item.length, MIB):
        out.write(bytes(min(MIB, item.length - at)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    for name, run in (('check', check), ('verify', verify), ('list', list_checkpoints), ('image', image)):
        command = commands.add_parser(name)
        command.add_argument('folder')
        command.set_defaults(run=run)
    commands.choices['check'].add_argument('--acked', type=int, default=0, metavar='SEQ', help='position that the peer was told to be durable')
    commands.choices['list'].add_argument('--json', action='store_true')
    for flag, kind in (('--volume', int), ('--checkpoint', int), ('--mirror', str), ('--out', str)):
        commands.choices['image'].add_argument(flag, type=kind, required=True)
    options = parser.parse_args()
    try:
        return options.run(options)
    except (Refused, OSError) as fault:
        print(fault, file=sys.stderr)
        return 2
    except Corrupt as fault:
        print(f'corrupt: {fault}')
        return 1


if __name__ == '__main__':
    sys.exit(main())
