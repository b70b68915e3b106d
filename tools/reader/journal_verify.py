"""Everything that is wrong with a journal's folder, one line each: segments and records (docs/spec/journal.md), index files (journal-index.md), state files.

Where `check` stops at the first break and gives the verdict of the scan, this goes on behind it: each segment begins with a state, so that it can be read alone.
"""
import json
import re
from pathlib import Path

from journal_bytes import (ALIGNMENT, SEGMENT_HEADER_BYTES, WITH_TABLE, Break, Corrupt, Folder, Place, Segment, crc32c, items_of, read_header,
                           read_record)
from journal_index import NAME, Expected, IndexFile

STATE_FILES = ('owner.json', 'pins.json')
SEAL = re.compile(rb'(.*)\ncrc32c ([0-9a-f]{8})\n', re.DOTALL)


class Verify:
    """`faults` and `notes`, a line each. `scan` is the class that reads all records in order, `state` the one that adds them up."""

    def __init__(self, path, *, scan, state):
        self.path, self.new_scan, self.new_state = Path(path), scan, state
        self.faults, self.notes, self.expected = [], [], {}
        self.names = sorted(entry.name for entry in self.path.iterdir())
        self._find_segments()
        self._verify_records()
        self._verify_index()
        self._verify_others()

    # ---- Segments

    def _find_segments(self):
        self.folder = Folder(self.path)
        oldest = self.folder.segments[0]
        self.salt = next((segment.header.salt for segment in reversed(self.folder.segments) if segment.header), None)
        for segment in self.folder.segments:
            if segment.header is None:
                self.faults.append(f'segment {segment.number}, byte 0: its header does not read')
        # Segments are freed oldest first: with an older one there, the one that is resumed should be as well.
        self.missing = (oldest.number - 1 if oldest.header is None else oldest.header.resumesSegment) or None
        files = [Segment(self.path / name) for name in self.names if re.fullmatch(r'\d{10}\.segment', name)]
        self.cut_off = [segment for segment in files if segment.number < (self.missing or 0)]
        self.all = self.cut_off + self.folder.segments
        self.segments = {segment.number: segment for segment in self.all}
        for segment, following in zip(self.cut_off, self.cut_off[1:]):
            if following.header is not None and following.header.resumesSegment == segment.number:
                segment.continued_at(following.header.resumesAt)
        if self.cut_off:
            self._fault_missing(self.missing, f'segment {oldest.number} goes on behind it, and older ones are there')
        self.notes += [note for note in self.folder.notes if note.startswith('segment ') and not any(note.startswith(f'segment {each.number} ') for each in self.cut_off)]

    def _fault_missing(self, number, why):
        line = f'segment {number} is missing: {why}'
        if not any(each.startswith(f'segment {number} is missing') for each in self.faults):
            self.faults.append(line)

    # ---- Records

    def _verify_records(self):
        verify = self

        class Collecting(self.new_scan):
            """Collects what an index has to say, of each segment that is read to its end."""

            def _read_segment(self, segment, place):
                expected, at = Expected(segment.number), SEGMENT_HEADER_BYTES

                def take(record):
                    nonlocal at
                    items = items_of(record) if record.kind in WITH_TABLE else None
                    expected.take(record, items, at, self.state['volumeBaseSeqs'] or [0] * 64)
                    at = record.next
                self.take = take
                place, end = super()._read_segment(segment, place)
                if end is None:
                    verify.expected[segment.number] = expected
                return place, end
        scan = Collecting(self.folder)
        if scan.verdict == 'torn tail':
            number, at, size = scan.cut
            self.notes.append(f'segment {number}: torn tail, counts up to byte {at}, {size} bytes behind it do not ({scan.reason})')
        if scan.verdict != 'corrupt':
            return
        is_front_missing = 'missing in front' in scan.reason and self.missing is not None
        if is_front_missing:
            self._fault_missing(self.missing, scan.reason)
        stopped_at = next((each.number for each in self.folder.segments if each.number not in self.expected), 0)
        for segment in [each for each in self.all if each.number not in self.expected]:
            before = len(self.faults)
            self._read_alone(segment)
            # Alone it is in order: it contradicts what stands before it.
            if segment.number == stopped_at and segment.header is not None and len(self.faults) == before:
                self.faults.append(f'segment {segment.number}: {scan.reason}')
        if stopped_at == 0 and not is_front_missing:
            self.faults.append(scan.reason)

    def _read_alone(self, segment):
        """All faults of one segment: behind a record that does not read it goes on at the next one that does."""
        header, state, expected = segment.header, self.new_state(''), Expected(segment.number)
        data = segment.read()[:segment.end]
        place, at, before = None, SEGMENT_HEADER_BYTES, len(self.faults)
        if header is not None:
            place = Place(header.salt, header.firstRecordNo, header.chainStart)
        elif self.salt is None:
            return
        is_last = segment is self.folder.segments[-1]
        state.is_new_generation, state.is_gap_allowed, is_state_known = False, True, True
        while at < len(data):
            try:
                record = read_record(data, at, place or self._next_place(data, at)[1] or Place(self.salt, 0, None))
            except (Break, Corrupt) as fault:
                following, found = self._next_place(data, at + ALIGNMENT)
                if not (is_last and following is None):
                    goes_on = f'goes on with record {found.recordNo} at byte {following}' if found else 'no whole record behind it'
                    self._fault(segment, at, f'{fault}; {goes_on}')
                place, at, is_state_known = found, following or len(data), False
                continue
            if is_state_known:
                is_state_known = self._add_up(segment, at, record, (state, expected))
            place, at = Place(self.salt, record.header.recordNo + 1, record.header.chain), record.next
        if segment.end is not None and segment.size < segment.end:
            self._fault(segment, segment.size, f'the file ends here, its records at byte {segment.end}')
        if place is not None and len(self.faults) == before:
            try:
                segment.place_behind(place)
            except Break as fault:
                self._fault(segment, at, fault)
        if is_state_known and len(self.faults) == before:
            self.expected[segment.number] = expected

    def _add_up(self, segment, at, record, into):
        state, expected = into
        try:
            state.take(record)
            expected.take(record, items_of(record) if record.kind in WITH_TABLE else None, at, state['volumeBaseSeqs'] or [0] * 64)
            return True
        except Corrupt as fault:
            self._fault(segment, at, fault)
            return False

    def _next_place(self, data, start):
        """Byte and place of the next header that reads: what it is chained to is unknown, so that is not asked."""
        for at in range(start, len(data), ALIGNMENT):
            header = read_header(data, at, self.salt)
            if header is not None:
                return at, Place(self.salt, header.recordNo, None)
        return None, None

    def _fault(self, segment, at, what):
        self.faults.append(f'segment {segment.number}, byte {at}: {what}')

    # ---- Index files

    def _verify_index(self):
        files = [IndexFile(self.path / name) for name in self.names if NAME.fullmatch(name)]
        # Of a merge that was killed before its inputs were removed the longer run counts.
        files.sort(key=lambda file: file.path.name[:10] + f'{9999999999 - int(file.path.name[11:21]):010}')
        indexed = set()
        for file in files:
            before = len(self.faults)
            self.faults += file.faults
            live = {number: each for number, each in (file.sections or {}).items() if number >= self.all[0].number}
            if file.sections is not None and not live:
                self.notes.append(f'index {file.path.name}: all its segments were freed')
            if indexed & set(live):
                self.notes.append(f'index {file.path.name}: what it was made of is left beside a longer one')
            for number, (section, digest) in live.items():
                for fault in self._section_faults(file, section, digest):
                    self.faults.append(f'index {file.path.name}, segment {number}: {fault}')
            if len(self.faults) == before:
                indexed |= set(live)
        without = [number for number in list(self.segments)[:-1] if number not in indexed]
        if without:
            self.notes.append(f'sealed segments without a sound index: {", ".join(map(str, without))}')

    def _section_faults(self, file, section, digest):
        segment = self.segments.get(section.segment)
        if segment is None:
            self._fault_missing(section.segment, f'{file.path.name} is of it')
            return
        header = segment.header
        if header is None:
            return
        said = file.footer.salt, section.generation, section.firstRecordNo, section.chainStart
        yield from differs('salt, generation, first record, chain start', said, (header.salt, header.generation, header.firstRecordNo, header.chainStart))
        following = next((each for each in self.all if each.number > segment.number), None)
        if following is None:
            return self._fault_missing(section.segment + 1, f'{file.path.name} was written when it was there')
        if following.header is not None and following.header.resumesSegment == segment.number:
            next_header = following.header
            ends = section.endAt, section.recordNo + 1, section.chain
            if segment.is_compacted and segment.end == header.compactedEndAt:
                yield from differs('end, last record, chain (against the header of its compacted segment)', (section.endAt, section.recordNo, section.chain),
                                   (header.compactedEndAt, header.compactedRecordNo, header.compactedChain))
                ends = header.originalEndAt, header.originalRecordNo + 1, header.originalChain
            yield from differs(f'end, next record, chain (against the header of segment {following.number})', ends,
                               (next_header.resumesAt, next_header.firstRecordNo, next_header.chainStart))
        expected = self.expected.get(section.segment)
        if expected is None:
            return  # damaged itself, and said so
        yield from differs('last record, end, position, clock, chain', (section.recordNo, section.endAt, section.lastSeq, section.clockMs, section.chain),
                           (expected.record_no, expected.end_at, expected.last_seq, expected.clock_ms, expected.chain))
        if digest != expected.digest:
            yield f'its digest ({len(digest)} bytes) is not that of the records ({len(expected.digest)} bytes)'
        found = file.entries.get(section.segment, set())
        for what, entries in (('of no write in it', found - expected.entries), ('missing', expected.entries - found if file.is_every_page_read else set())):
            if entries:
                volume, entry = min(entries)
                offset = int.from_bytes(entry[:6], 'little')
                yield f'{len(entries)} entries {what}, the first of volume {volume}, offset {offset}'
        if section.writes != len(expected.entries):
            yield f'{section.writes} writes, there are {len(expected.entries)}'

    # ---- What else lies there

    def _verify_others(self):
        for name in self.names:
            if name in STATE_FILES:
                seal = SEAL.fullmatch((self.path / name).read_bytes())
                if seal is None or int(seal[2], 16) != crc32c(seal[1]) or not is_json(seal[1]):
                    self.faults.append(f'{name}: its seal does not fit')
            elif name.endswith(('.index.temp', '.segment.temp')):
                self.notes.append(f'{name}: was not finished, the next start removes it')
            elif not re.fullmatch(r'\d{10}\.segment', name) and not NAME.fullmatch(name):
                self.faults.append(f'{name}: does not belong in a journal')


def differs(what, said, actual):
    if said != actual:
        said, actual = ([each.hex() if isinstance(each, bytes) else each for each in values] for values in (said, actual))
        yield f'{what}: it says {said}, there is {actual}'


def is_json(raw):
    try:
        json.loads(raw)
        return True
    except ValueError:
        return False
