"""The bytes of Tidemark's journal: segments, records and the stream records in their bodies (docs/spec/journal.md, replication.md).

Nothing here knows what records mean together: see tidemark_journal.py.
"""
import json
import re
import shutil
import struct
import subprocess
import sys
from array import array
from collections import namedtuple
from pathlib import Path

MIB = 1 << 20
SEGMENT_HEADER_BYTES, RECORD_HEADER_BYTES, ALIGNMENT = 1024, 128, 64
FRAME_BYTES_MAX, CONTROL_BYTES_MAX, MARK_BYTES_MAX = 33 * MIB, 64 << 10, MIB
SEQ_LIMIT = 1 << 53

SEGMENT = struct.Struct('<I4sHHI8sIIQQQIHH256s640sQQQQII24s')
SegmentHeader = namedtuple('SegmentHeader', 'crc magic version reserved generation salt segment resumesSegment resumesAt firstRecordNo '
                                            'committedRecordNo chainStart vpgIdBytes vmIdBytes vpgId vmId compactedEndAt compactedRecordNo '
                                            'originalRecordNo originalEndAt compactedChain originalChain reserved2')
RECORD = struct.Struct('<I4sHHI8sQQQQQIIIIIIB7sQQ16s')
RecordHeader = namedtuple('RecordHeader', 'crc magic version kind chain salt recordNo committedRecordNo firstSeq lastSeq committedSeq epoch '
                                          'incarnation count bodyBytes rawBytes bodyCrc codec reserved clockMs atMs reserved2')
DESCRIPTOR = struct.Struct('<QIIIHBB')
assert (SEGMENT.size, RECORD.size, DESCRIPTOR.size) == (SEGMENT_HEADER_BYTES, RECORD_HEADER_BYTES, 24)

KINDS = {1: 'state', 2: 'frame', 3: 'incarnation', 4: 'epochReserve', 5: 'epochCommit', 6: 'epochBurn', 7: 'retire', 8: 'applied', 9: 'direct',
         10: 'baseFrame', 11: 'generation', 12: 'promotionStart', 13: 'promotionEnd', 14: 'scratch', 15: 'volumes', 16: 'thin', 17: 'kept'}
CODECS = ('none', 'lz4', 'zstd')
WITH_TABLE = {'frame', 'baseFrame', 'scratch', 'kept'}
TYPES = {1: 'write', 2: 'zeroes', 3: 'syncWrite', 4: 'syncZeroes', 5: 'marker', 6: 'seal', 7: 'syncStart', 8: 'syncEnd'}
# Fields of JSON bodies and their types; a JSON true is no number.
NUMBER, FRACTION, TEXT, FLAG, TEXT_OR_NULL = (int,), (int, float), (str,), (bool,), (str, type(None))
MARK_FIELDS = {'marker': {'vpgId': TEXT, 'checkpointId': NUMBER, 'epoch': NUMBER, 'term': NUMBER, 'vmIds': (list,), 'atMs': FRACTION,
                          'ageMs': FRACTION, 'tag': TEXT_OR_NULL, 'kind': TEXT},
               'seal': {'vpgId': TEXT, 'checkpointId': NUMBER, 'term': NUMBER}, 'syncStart': {'kind': TEXT, 'reason': TEXT}}
CONTROL_FIELDS = {
    'state': {'epoch': NUMBER, 'reservedEpoch': NUMBER, 'highestEpoch': NUMBER, 'isEnded': FLAG, 'incarnation': NUMBER,
              'sessionId': TEXT_OR_NULL, 'isBaseComplete': FLAG, 'sync': TEXT, 'lastSeq': NUMBER, 'appliedSeq': NUMBER, 'retiredSeq': NUMBER,
              'promotionCheckpointId': NUMBER, 'isPromotionDone': FLAG, 'brokenReason': TEXT_OR_NULL,
              'volumeDisks': (list,), 'volumeBytes': (list,), 'volumeBaseSeqs': (list,)},
    'incarnation': {'sessionId': TEXT}, 'epochReserve': {'epoch': NUMBER}, 'epochCommit': {'epoch': NUMBER}, 'epochBurn': {'epoch': NUMBER},
    'retire': {'checkpointId': NUMBER, 'markerSeq': NUMBER}, 'applied': {'appliedSeq': NUMBER}, 'direct': {'sync': TEXT},
    'generation': {'reason': TEXT}, 'promotionStart': {'checkpointId': NUMBER}, 'promotionEnd': {'checkpointId': NUMBER},
    'thin': {'checkpointIds': (list,)},
    'volumes': {'volumeDisks': (list,), 'volumeBytes': (list,)}}


class Break(Exception):
    """The record at this place is not whole, chained and valid: a torn tail or corruption, the table of verdicts decides."""


class Corrupt(Exception):
    """Checksums hold and the contents contradict the specification: corruption, whatever lies behind."""


class Refused(Exception):
    """The journal may be in order; what was asked for is not possible."""


# ---- CRC-32C, 16 bits a table: 8 bytes a step ---------------------------------------------------------------------------


def _crc_tables():
    one = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        one.append(value)
    last = [0] * 65536
    for value in range(65536):
        value_after_one = one[value & 255] ^ value >> 8
        last[value] = one[value_after_one & 255] ^ value_after_one >> 8
    tables = [last]
    for _ in range(3):
        tables.insert(0, [last[crc & 0xFFFF] ^ crc >> 16 for crc in tables[0]])
    return one, tables


CRC_ONE, (CRC_A, CRC_B, CRC_C, CRC_D) = _crc_tables()


def crc32c(data, crc=0):
    """CRC-32C (RFC 3720 §12.1) of `data`, continued from the value `crc` of what stood before it."""
    crc ^= 0xFFFFFFFF
    data = memoryview(data)
    whole = len(data) & ~7
    words = array('Q', bytes(data[:whole]))
    if sys.byteorder == 'big':
        words.byteswap()
    a, b, c, d = CRC_A, CRC_B, CRC_C, CRC_D
    for word in words:
        word ^= crc
        crc = a[word & 0xFFFF] ^ b[word >> 16 & 0xFFFF] ^ c[word >> 32 & 0xFFFF] ^ d[word >> 48]
    for byte in data[whole:]:
        crc = CRC_ONE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b'123456789') == 0xE3069283 and crc32c(b'6789', crc32c(b'12345')) == 0xE3069283


# ---- Segments -----------------------------------------------------------------------------------------------------------


def read_segment_header(raw, number):
    """The header, or None when it does not read."""
    if len(raw) < SEGMENT_HEADER_BYTES:
        return None
    header = SegmentHeader(*SEGMENT.unpack(raw[:SEGMENT_HEADER_BYTES]))
    is_whole = header.crc == crc32c(raw[4:SEGMENT_HEADER_BYTES]) and header.magic == b'TDJS'
    if is_whole and header.version != 1:
        raise Refused(f'segment {number} has format version {header.version}, this reader knows version 1: that is no damage')
    is_valid = (is_whole and header.reserved == 0 and not any(header.reserved2) and header.segment == number
                and header.committedRecordNo == header.firstRecordNo - 1
                and header.vpgIdBytes <= 256 and header.vmIdBytes <= 640
                and is_compaction_sound(header)
                and not any(header.vpgId[header.vpgIdBytes:]) and not any(header.vmId[header.vmIdBytes:]))
    return header if is_valid else None


def is_compaction_sound(header):
    """Zeroes, or ends that can be: of a compacted segment nothing is longer than what it stands for."""
    if not any((header.compactedEndAt, header.compactedRecordNo, header.originalRecordNo, header.originalEndAt, header.compactedChain, header.originalChain)):
        return True
    return (SEGMENT_HEADER_BYTES < header.compactedEndAt <= header.originalEndAt < SEQ_LIMIT
            and header.firstRecordNo <= header.compactedRecordNo <= header.originalRecordNo < SEQ_LIMIT)


class Segment:
    """One file: its header (None: does not read) and, once a successor says so, the byte at which its records end."""

    def __init__(self, path):
        self.path, self.number, self.size, self.end = path, int(path.name[:10]), path.stat().st_size, None
        with path.open('rb') as file:
            self.header = read_segment_header(file.read(SEGMENT_HEADER_BYTES), self.number)

    def read(self):
        return self.path.read_bytes()

    @property
    def is_unmade(self):
        """Its creation did not finish."""
        return self.header is None and self.size <= SEGMENT_HEADER_BYTES

    @property
    def is_compacted(self):
        return self.header is not None and self.header.compactedEndAt > 0

    def continued_at(self, byte):
        """The next segment resumes at this byte; in a compacted segment the records end elsewhere (unless a new generation cuts it short there)."""
        self.end = self.header.compactedEndAt if self.is_compacted and byte == self.header.originalEndAt else byte

    def place_behind(self, place):
        """Where the next segment goes on; `place` is where the records of this one end."""
        if not self.is_compacted or self.end < self.header.compactedEndAt:
            return place  # also where a new generation cut it short
        header = self.header
        if (place.recordNo, place.chain) != (header.compactedRecordNo + 1, header.compactedChain):
            raise Break(f'ends behind record {place.recordNo - 1}, the header says {header.compactedRecordNo} and another chain value or number')
        return Place(place.salt, header.originalRecordNo + 1, header.originalChain)


class Folder:
    """The segments that make the journal, oldest first; what lies beside them is named in `notes`."""

    def __init__(self, path):
        names = sorted(entry.name for entry in Path(path).iterdir())
        files = [Segment(Path(path) / name) for name in names if re.fullmatch(r'\d{10}\.segment', name)]
        self.notes = [f'not a segment: {name}' for name in names if not re.fullmatch(r'\d{10}\.segment', name)]
        self.files = list(files)
        while files and files[-1].is_unmade:
            self.notes.append(f'segment {files.pop().number}: its creation did not finish')
        if not files:
            raise Refused('no segment in this folder')
        self.segments = self._walk_back({file.number: file for file in files}, files[-1])
        missing = set(files) - set(self.segments)
        self.notes += [f'segment {file.number} belongs to nobody' for file in files if file in missing]

    def told(self, salt):
        """Kind and body of each whole record, wherever it lies, that says how far retirement, mirrors and promotion are."""
        for file in self.files:
            data, found = file.read(), -1
            while (found := data.find(b'TDJR', found + 1)) >= 0:
                at = found - 4
                header = read_header(data, at, salt) if at >= 0 and at % ALIGNMENT == 0 else None
                kind = KINDS.get(header.kind) if header else None
                if kind not in ('state', 'retire', 'applied', 'promotionStart', 'promotionEnd'):
                    continue
                body = data[at + RECORD_HEADER_BYTES:at + RECORD_HEADER_BYTES + header.bodyBytes]
                if len(body) == header.bodyBytes and crc32c(body) == header.bodyCrc:
                    told = json_object(body, CONTROL_FIELDS[kind], f'record {header.recordNo}')
                    yield kind, {'promotionCheckpointId': told['checkpointId']} if kind.startswith('promotion') else told

    @staticmethod
    def _walk_back(files, last):
        segments = [last]
        while True:
            header = segments[0].header
            if header is not None and header.resumesSegment == 0:
                return segments
            # Behind a header that does not read, the nearest file before is asked: what it holds may still be read.
            number = max((n for n, file in files.items() if n < segments[0].number and not file.is_unmade), default=0) if header is None else header.resumesSegment
            if number not in files:
                return segments
            if number >= segments[0].number:
                raise Corrupt(f'segment {segments[0].number} resumes segment {number}')
            if header is not None:
                files[number].continued_at(header.resumesAt)
            segments.insert(0, files[number])


# ---- Records ------------------------------------------------------------------------------------------------------------

Record = namedtuple('Record', 'header kind body next')
Place = namedtuple('Place', 'salt recordNo chain')


def read_header(data, at, salt):
    """A record header of this journal whose checksum holds, or None."""
    raw = data[at:at + RECORD_HEADER_BYTES]
    if len(raw) < RECORD_HEADER_BYTES or raw[16:24] != salt:
        return None
    header = RecordHeader(*RECORD.unpack(raw))
    return header if header.crc == crc32c(raw[4:]) else None


def check_header(header):
    """What a header may say by itself; its checksum holds, so anything else is not a torn write."""
    kind = KINDS.get(header.kind)
    where = f'record {header.recordNo}'
    if header.magic == b'TDJR' and header.version != 1:
        raise Refused(f'{where} has format version {header.version}, this reader knows version 1: that is no damage')
    if header.magic != b'TDJR' or kind is None or any(header.reserved) or any(header.reserved2):
        raise Corrupt(f'{where}: magic, version, kind or reserved bytes')
    if header.codec > 2 or (header.codec != 0 and kind not in WITH_TABLE):
        raise Corrupt(f'{where}: codec {header.codec} of a {kind}')
    if header.codec == 0 and header.rawBytes != header.bodyBytes:
        raise Corrupt(f'{where}: {header.bodyBytes} bytes stored without compression, said to be {header.rawBytes}')
    if max(header.bodyBytes, header.rawBytes) > (FRAME_BYTES_MAX if kind in WITH_TABLE else CONTROL_BYTES_MAX):
        raise Corrupt(f'{where}: body above its limit')
    if max(header.firstSeq, header.lastSeq, header.committedSeq, header.recordNo) >= SEQ_LIMIT:
        raise Corrupt(f'{where}: number above 2^53')
    if header.committedRecordNo >= header.recordNo:
        raise Corrupt(f'{where}: says that {header.committedRecordNo} was durable before it')
    return kind


def read_record(data, at, place):
    """The record at `at`; throws Break where it is not whole and chained, Corrupt where it contradicts itself."""
    end = len(data)
    if at + RECORD_HEADER_BYTES > end:
        raise Break('the file ends in a record header')
    header = read_header(data, at, place.salt)
    if header is None:
        raise Break('header checksum or salt')
    raw = data[at:at + RECORD_HEADER_BYTES]
    if header.recordNo != place.recordNo:
        raise Break(f'number {header.recordNo} where {place.recordNo} belongs')
    if place.chain is not None and header.chain != crc32c(raw[16:], crc32c(raw[10:12], place.chain)):
        raise Break('not chained to the record before')
    kind = check_header(header)
    body_at = at + RECORD_HEADER_BYTES
    body = data[body_at:body_at + header.bodyBytes]
    following = -(-(body_at + header.bodyBytes) // ALIGNMENT) * ALIGNMENT
    if following > end:
        raise Break('the file ends in a record')
    if crc32c(body) != header.bodyCrc:
        raise Break('body checksum')
    return Record(header, kind, body, following)


def lz4_body(body, raw_bytes):
    """u32 raw length, then one LZ4 block: runs of (token, literals, match), each length in 4 bits of the token and, when those are 15, further bytes."""
    if len(body) < 4 or int.from_bytes(body[:4], 'little') != raw_bytes:
        raise Corrupt('lz4 body with another length than its record')
    out, at = bytearray(), 4

    def length(nibble, at):
        more = 255 if nibble == 15 else 0
        while more == 255:
            more, at = body[at], at + 1
            nibble += more
        return nibble, at
    try:
        while at < len(body):
            token, at = body[at], at + 1
            literals, at = length(token >> 4, at)
            if at + literals > len(body):
                raise Corrupt('lz4 body: literals beyond its end')
            out += body[at:at + literals]
            at += literals
            if at == len(body):
                break  # the last run has no match
            distance, at = int.from_bytes(body[at:at + 2], 'little'), at + 2
            match, at = length(token & 15, at)
            match += 4
            if not 0 < distance <= len(out) or len(out) + match > raw_bytes:
                raise Corrupt('lz4 body: match out of place')
            for _ in range(-(-match // distance)):
                piece = out[-distance:][:match]
                out += piece
                match -= len(piece)
    except IndexError:
        raise Corrupt('lz4 body ends in a run') from None
    if len(out) != raw_bytes:
        raise Corrupt(f'lz4 body does not decompress to {raw_bytes} bytes')
    return bytes(out)


def decompress(record):
    codec, raw_bytes = record.header.codec, record.header.rawBytes
    if codec == 0:
        return record.body
    if codec == 1:
        return lz4_body(record.body, raw_bytes)
    if shutil.which('zstd') is None:
        raise Refused('this journal holds zstd bodies and the zstd command is missing (Debian package zstd)')
    result = subprocess.run(['zstd', '-d', '-c', '-q'], input=record.body, capture_output=True, check=False)
    if result.returncode != 0 or len(result.stdout) != raw_bytes:
        raise Corrupt(f'record {record.header.recordNo}: zstd body does not decompress to {raw_bytes} bytes {result.stderr.decode()}')
    return result.stdout


# `payload` of a mark is decoded, `raw` is as stored; `number` is that of the type.
Item = namedtuple('Item', 'seq type volume offset length payload raw payloadAt number')


def items_of(record):
    """The stream records in a frame's body."""
    header, body = record.header, decompress(record)
    seqs = range(header.firstSeq, header.firstSeq + header.count)
    if record.kind == 'kept':
        seqs, body = kept_seqs(header, body)
        if header.count == 0:
            return []
    payload_next = header.count * DESCRIPTOR.size
    if header.count < 1 or payload_next > len(body) or header.count > 65536:
        raise Corrupt(f'record {header.recordNo}: {header.count} stream records in {len(body)} bytes')
    items = []
    for index in range(header.count):
        offset, length, payload_at, payload_bytes, volume, number, reserved = DESCRIPTOR.unpack_from(body, index * DESCRIPTOR.size)
        kind, where = TYPES.get(number), f'record {header.recordNo}, item {index}'
        if kind is None or reserved != 0 or volume >= 64:
            raise Corrupt(f'{where}: type, volume or reserved byte')
        is_data, is_mark = number <= 4, number > 4
        wanted = length if kind in ('write', 'syncWrite') else payload_bytes if kind in MARK_FIELDS else 0
        if (is_data and length == 0) or (is_mark and (length, volume, offset) != (0, 0, 0)) or payload_bytes != wanted:
            raise Corrupt(f'{where}: length {length}, payload {payload_bytes} of a {kind}')
        if payload_at != (payload_next if payload_bytes > 0 else 0) or payload_next + payload_bytes > len(body):
            raise Corrupt(f'{where}: payload at {payload_at}')
        payload = body[payload_next:payload_next + payload_bytes]
        payload_next += payload_bytes
        decoded = mark(kind, payload, where) if kind in MARK_FIELDS else payload
        items.append(Item(seqs[index], kind, volume, offset, length, decoded, payload, payload_at, number))
    if payload_next != len(body):
        raise Corrupt(f'record {header.recordNo}: {len(body) - payload_next} bytes behind the last payload')
    return items


def kept_seqs(header, body):
    """The positions behind the payloads of a `kept` record, and the body without them."""
    size = 4 * header.count
    if size > len(body) or (header.count == 0 and body):
        raise Corrupt(f'record {header.recordNo}: {header.count} positions in {len(body)} bytes')
    table = len(body) - size
    seqs = [header.firstSeq + each for each in struct.unpack_from(f'<{header.count}I', body, table)]
    if seqs != sorted(seqs) or any(seq > header.lastSeq for seq in seqs):
        raise Corrupt(f'record {header.recordNo}: positions out of order')
    return seqs, body[:table]


def mark(kind, payload, where):
    if len(payload) > MARK_BYTES_MAX:
        raise Corrupt(f'{where}: {len(payload)} bytes of {kind}')
    return json_object(payload, MARK_FIELDS[kind], where)


def json_object(raw, fields, where):
    """A JSON object with exactly these fields, each of its type."""
    try:
        value = json.loads(bytes(raw).decode('utf-8'))
    except ValueError as error:
        raise Corrupt(f'{where}: {error}') from error
    if not isinstance(value, dict) or set(value) != set(fields):
        raise Corrupt(f'{where}: fields {sorted(value) if isinstance(value, dict) else value}, expected {sorted(fields)}')
    for name, types in fields.items():
        if type(value[name]) not in types:
            raise Corrupt(f'{where}: {name} is {value[name]!r}')
    return value
