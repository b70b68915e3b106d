import { describe, expect, it } from '@jest/globals';
import { samples } from './vra-figures.js';

const TEXT = `# HELP tidemark_sent_bytes Bytes sent
# TYPE tidemark_sent_bytes gauge
tidemark_sent_bytes{vpg="v1",vm="x.vm-1"} 1024
tidemark_sent_bytes{vpg="v1",vm="x.vm-2"} 1.5e3
tidemark_sent_bytes{vpg="v2",vm="x.vm-3"} 7
tidemark_sent_bytes_total{vpg="v1",vm="x.vm-1"} 99
process_cpu_seconds_total 3.2
`;

describe('figures from a metrics page', () => {
  it('are those of one VPG and of one name', () => {
    expect(samples(TEXT, 'tidemark_sent_bytes', 'v1')).toEqual([1024, 1500]);
    expect(samples(TEXT, 'tidemark_sent_bytes', 'v3')).toEqual([]);
    expect(samples('', 'tidemark_sent_bytes', 'v1')).toEqual([]);
  });
});
