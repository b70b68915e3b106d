"""The index files of Tidemark's journal (docs/spec/journal-index.md): pages, fences, sections and footer, and what they have to say of a segment.

`faults` of an index file are those that it has by itself; whether it is of the segments that are there is journal_verify.py's business.
"""
import re
import struct
from collections import namedtuple

from journal_bytes import Corrupt, crc32c

PAGE_BYTES, FENCE_BYTES, FOOTER_BYTES, SECTION_BYTES, ENTRY_BYTES, ENTRIES_MAX = 4096, 40, 128, 64, 32, 127
NAME = re.compile(r'(\d{10})-(\d{10})\.index')
PACKED_BIT = 1 << 31

PAGE = struct.Struct('<I4sIHH8s8s')
Page = namedtuple('Page', 'crc magic page count volume salt reserved')
ENTRY = struct.Struct('<6sHIIIIII')
FENCE = struct.Struct('<QQQQH6s')
SECTION = struct.Struct('<IIQQQQQIIII')
Section = namedtuple('Section', 'segment generation firstRecordNo recordNo endAt lastSeq clockMs chainStart chain writes digestBytes')
ITEM = struct.Struct('<HHIQQQQQII')
MARK = struct.Struct('<QIB3x')
FOOTER = struct.Struct('<I4sHHIII8sIIQIIQ64s')
Footer = namedtuple('Footer', 'crc magic version reserved firstSegment lastSegment segmentCount salt pageCount fencesCrc sectionsBytes sectionsCrc '
                              'reserved2 entryCount reserved3')
assert (PAGE.size, ENTRY.size, FENCE.size, SECTION.size, ITEM.size, MARK.size, FOOTER.size) == (32, 32, 40, 64, 56, 16, 128)


def padded(raw):
    return bytes(raw) + bytes(-len(raw) % 8)


class Expected:
    """What an index has to say of one segment, record by record in order."""

    def __init__(self, segment):
        self.segment, self.entries, self.digest = segment, set(), bytearray()
        self.last_seq = self.record_no = self.chain = self.clock_ms = 0
        self.end_at = None

    def take(self, record, items, at, base_seqs):
        """`items` of a frame, else None; `base_seqs` as the state is behind this record."""
        header, is_frame = record.header, items is not None
        marks = [item for item in items or () if item.type not in ('write', 'zeroes', 'syncWrite', 'syncZeroes')]
        if record.kind not in ('frame', 'kept') or marks or header.firstSeq != self.last_seq + 1:
            preceding = 0 if record.kind == 'state' else self.last_seq
            self.digest += ITEM.pack(header.kind, 0, header.incarnation, header.firstSeq, header.lastSeq, preceding, header.clockMs, header.atMs,
                                     0 if is_frame else header.bodyBytes, len(marks))
            self.digest += b'' if is_frame else padded(record.body)
            for item in marks:
                self.digest += MARK.pack(item.seq, len(item.raw), item.number) + padded(item.raw)
        for item in items or ():
            if item.volume >= len(base_seqs):
                raise Corrupt(f'record {header.recordNo}: stream record {item.seq} is of volume {item.volume}, there are {len(base_seqs)}')
            if item.type in ('write', 'zeroes', 'syncWrite', 'syncZeroes') and item.seq > base_seqs[item.volume]:
                self.entries.add(self._entry(item, at, header.codec != 0))
        self.last_seq, self.record_no, self.chain, self.clock_ms = header.lastSeq, header.recordNo, header.chain, header.clockMs
        self.end_at = record.next

    def _entry(self, item, at, is_packed):
        payload_at = item.payloadAt + (PACKED_BIT if is_packed else 0) if item.raw else 0
        payload_crc = crc32c(item.raw) if item.raw and not is_packed else 0
        return item.volume, ENTRY.pack(item.offset.to_bytes(6, 'little'), item.seq >> 32, item.seq & 0xFFFFFFFF, item.length, self.segment, at, payload_at, payload_crc)


class IndexFile:
    """One file, read whole. `sections` maps segments to (Section, digest); None: there is nothing to believe."""

    def __init__(self, path):
        self.path, self.faults, self.sections, self.footer = path, [], None, None
        self.entries, self.is_every_page_read = {}, True
        raw = path.read_bytes()
        self.footer = self._read_footer(raw)
        if self.footer is None:
            return
        fences_at = self.footer.pageCount * PAGE_BYTES
        sections_at = fences_at + self.footer.pageCount * FENCE_BYTES
        self._read_pages(raw, raw[fences_at:sections_at])
        if crc32c(raw[fences_at:sections_at]) != self.footer.fencesCrc:
            self._fault(f'fences (byte {fences_at}): checksum')
        self._read_sections(raw[sections_at:-FOOTER_BYTES], sections_at)

    def _fault(self, what):
        self.faults.append(f'index {self.path.name}: {what}')

    def _read_footer(self, raw):
        at = len(raw) - FOOTER_BYTES
        if at < 0:
            return self._fault(f'{len(raw)} bytes, less than a footer')
        footer = Footer(*FOOTER.unpack_from(raw, at))
        if footer.crc != crc32c(raw[at + 4:]):
            return self._fault(f'footer (byte {at}): checksum')
        if footer.magic != b'TDJI' or footer.version != 1 or footer.reserved or footer.reserved2 or any(footer.reserved3):
            return self._fault(f'footer (byte {at}): magic, version or reserved bytes')
        if footer.pageCount * (PAGE_BYTES + FENCE_BYTES) + footer.sectionsBytes != at:
            return self._fault(f'{len(raw)} bytes, {footer.pageCount} pages and {footer.sectionsBytes} bytes of sections make another length')
        if NAME.fullmatch(self.path.name).groups() != (f'{footer.firstSegment:010}', f'{footer.lastSegment:010}'):
            self._fault(f'its footer says segments {footer.firstSegment} to {footer.lastSegment}')
        return footer

    def _read_pages(self, raw, fences):
        last, entry_count = (-1, -1, -1), 0
        for number in range(self.footer.pageCount):
            page_raw = raw[number * PAGE_BYTES:(number + 1) * PAGE_BYTES]
            page = Page(*PAGE.unpack_from(page_raw))
            where = f'page {number} (byte {number * PAGE_BYTES})'
            if page.crc != crc32c(page_raw[4:]):
                self.is_every_page_read = False
                self._fault(f'{where}: checksum')
                continue
            end = PAGE.size + page.count * ENTRY_BYTES
            if (page.magic != b'TDJP' or page.page != number or page.salt != self.footer.salt or any(page.reserved) or not 1 <= page.count <= ENTRIES_MAX
                    or any(page_raw[end:])):
                self.is_every_page_read = False
                self._fault(f'{where}: magic, number, salt, count or reserved bytes')
                continue
            keys, ends = [], []
            for entry in ENTRY.iter_unpack(page_raw[PAGE.size:end]):
                offset = int.from_bytes(entry[0], 'little')
                keys.append((page.volume, offset, entry[1] << 32 | entry[2]))
                ends.append(offset + entry[3])
                self.entries.setdefault(entry[4], set()).add((page.volume, ENTRY.pack(*entry)))
            if [last, *keys] != sorted({last, *keys}):
                self._fault(f'{where}: entries out of order')
            seqs = [seq for _, _, seq in keys]
            if fences[number * FENCE_BYTES:(number + 1) * FENCE_BYTES] != FENCE.pack(keys[0][1], max(ends), min(seqs), max(seqs), page.volume, b''):
                self._fault(f'{where}: its fence says something else')
            last, entry_count = keys[-1], entry_count + page.count
        if self.is_every_page_read and entry_count != self.footer.entryCount:
            self._fault(f'{entry_count} entries, the footer says {self.footer.entryCount}')

    def _read_sections(self, raw, sections_at):
        if crc32c(raw) != self.footer.sectionsCrc:
            return self._fault(f'sections (byte {sections_at}): checksum')
        sections, at = {}, 0
        while at + SECTION_BYTES <= len(raw):
            section = Section(*SECTION.unpack_from(raw, at))
            digest_at = at + SECTION_BYTES
            at = digest_at + section.digestBytes
            sections[section.segment] = section, raw[digest_at:at]
        numbers = list(sections)
        if (at != len(raw) or len(numbers) != self.footer.segmentCount or numbers != sorted(numbers)
                or numbers[:1] + numbers[-1:] != [self.footer.firstSegment, self.footer.lastSegment]):
            return self._fault(f'sections (byte {sections_at}): of segments {numbers}, of another length or order than the footer says')
        self.sections = sections
