"""The index files of Tidemark's journal (docs/spec/journal-index.md): pages, fence pages, upper fences, sections and footer, and what they have to say of a segment.

`faults` of an index file are those that it has by itself; whether it is of the segments that are there is journal_verify.py's business.
"""
import re
import struct
from collections import namedtuple

from journal_bytes import Corrupt, crc32c

PAGE_BYTES, FENCE_BYTES, FOOTER_BYTES, SECTION_BYTES, ENTRY_BYTES, ENTRIES_MAX = 4096, 32, 128, 64, 32, 127
NAME = re.compile(r'(\d{10})-(\d{10})\.index')
PACKED_BIT = 1 << 31

PAGE = struct.Struct('<I4sIHH8sII')
Page = namedtuple('Page', 'crc magic page count volume salt firstPage reserved')
ENTRY = struct.Struct('<6sHIIIIII')
FENCE = struct.Struct('<6sHQIHHII')
Fence = namedtuple('Fence', 'volume firstOffset maxEnd minSeq maxSeq pageCrc')
SECTION = struct.Struct('<IIQQQQQIIII')
Section = namedtuple('Section', 'segment generation firstRecordNo recordNo endAt lastSeq clockMs chainStart chain writes digestBytes')
ITEM = struct.Struct('<HHIQQQQQII')
MARK = struct.Struct('<QIB3x')
FOOTER = struct.Struct('<I4sHHIII8sIIQIIQ64s')
Footer = namedtuple('Footer', 'crc magic version reserved firstSegment lastSegment segmentCount salt pageCount upperFencesCrc sectionsBytes sectionsCrc '
                              'fencePageCount entryCount reserved3')
assert (PAGE.size, ENTRY.size, FENCE.size, SECTION.size, ITEM.size, MARK.size, FOOTER.size) == (32, 32, 32, 64, 56, 16, 128)


def padded(raw):
    return bytes(raw) + bytes(-len(raw) % 8)


def unpack_fences(raw):
    fences = []
    for offset, volume, max_end, min_low, min_high, max_high, max_low, crc in FENCE.iter_unpack(raw):
        fences.append(Fence(volume, int.from_bytes(offset, 'little'), max_end, min_high << 32 | min_low, max_high << 32 | max_low, crc))
    return fences


def fence_over(fences, page_crc):
    """What has to stand above a page of these."""
    return Fence(fences[0].volume, fences[0].firstOffset, max(each.maxEnd for each in fences), min(each.minSeq for each in fences), max(each.maxSeq for each in fences), page_crc)


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
        upper_at = (self.footer.pageCount + self.footer.fencePageCount) * PAGE_BYTES
        sections_at = upper_at + self.footer.fencePageCount * FENCE_BYTES
        said = self._read_pages(raw)
        self._read_fences(raw, said, raw[upper_at:sections_at])
        if crc32c(raw[upper_at:sections_at]) != self.footer.upperFencesCrc:
            self._fault(f'upper fences (byte {upper_at}): checksum')
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
        if footer.magic != b'TDJI' or footer.version != 1 or footer.reserved or any(footer.reserved3):
            return self._fault(f'footer (byte {at}): magic, version or reserved bytes')
        if footer.pageCount * PAGE_BYTES + footer.fencePageCount * (PAGE_BYTES + FENCE_BYTES) + footer.sectionsBytes != at:
            return self._fault(f'{len(raw)} bytes, {footer.pageCount} pages, {footer.fencePageCount} of fences and {footer.sectionsBytes} bytes of sections make another length')
        if NAME.fullmatch(self.path.name).groups() != (f'{footer.firstSegment:010}', f'{footer.lastSegment:010}'):
            self._fault(f'its footer says segments {footer.firstSegment} to {footer.lastSegment}')
        return footer

    def _page(self, raw, number, magic):
        page_raw = raw[number * PAGE_BYTES:(number + 1) * PAGE_BYTES]
        page = Page(*PAGE.unpack_from(page_raw))
        where = f"{'page' if magic == b'TDJP' else 'fence page'} {number} (byte {number * PAGE_BYTES})"
        end = PAGE.size + page.count * ENTRY_BYTES
        if page.crc != crc32c(page_raw[4:]):
            self._fault(f'{where}: checksum')
        elif (page.magic != magic or page.page != number or page.salt != self.footer.salt or page.reserved or not 1 <= page.count <= ENTRIES_MAX
                or any(page_raw[end:]) or (page.firstPage and magic == b'TDJP')):
            self._fault(f'{where}: magic, number, salt, count or reserved bytes')
        else:
            return page, page_raw[PAGE.size:end], where
        return None, None, where

    def _read_pages(self, raw):
        """The fence that each page has to have; None of one that does not read."""
        last, entry_count, said = (-1, -1, -1), 0, []
        for number in range(self.footer.pageCount):
            page, entries, where = self._page(raw, number, b'TDJP')
            if page is None:
                self.is_every_page_read = False
                said.append(None)
                continue
            keys, ends = [], []
            for entry in ENTRY.iter_unpack(entries):
                offset = int.from_bytes(entry[0], 'little')
                keys.append((page.volume, offset, entry[1] << 32 | entry[2]))
                ends.append(offset + entry[3])
                self.entries.setdefault(entry[4], set()).add((page.volume, ENTRY.pack(*entry)))
            if [last, *keys] != sorted({last, *keys}):
                self._fault(f'{where}: entries out of order')
            seqs = [seq for _, _, seq in keys]
            said.append(Fence(page.volume, keys[0][1], max(ends), min(seqs), max(seqs), page.crc))
            last, entry_count = keys[-1], entry_count + page.count
        if self.is_every_page_read and entry_count != self.footer.entryCount:
            self._fault(f'{entry_count} entries, the footer says {self.footer.entryCount}')
        return said

    def _read_fences(self, raw, said, upper_raw):
        first_page, upper = 0, unpack_fences(upper_raw)
        for number in range(self.footer.pageCount, self.footer.pageCount + self.footer.fencePageCount):
            page, fences_raw, where = self._page(raw, number, b'TDJF')
            if page is None:
                return
            fences = unpack_fences(fences_raw)
            if page.firstPage != first_page or any(fence.volume != page.volume for fence in fences):
                self._fault(f'{where}: is of pages from {page.firstPage} on, or of several volumes; {first_page} comes next')
            for i, fence in enumerate(fences, first_page):
                if i >= len(said) or (said[i] is not None and said[i] != fence):
                    self._fault(f'page {i} (byte {i * PAGE_BYTES}): its fence says something else')
            if upper[number - self.footer.pageCount] != fence_over(fences, page.crc):
                self._fault(f'{where}: its upper fence says something else')
            first_page += page.count
        if first_page != self.footer.pageCount:
            self._fault(f'fences of {first_page} pages, there are {self.footer.pageCount}')

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
