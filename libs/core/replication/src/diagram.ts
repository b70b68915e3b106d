/** A state table as Mermaid text, for the specification. */
export function stateDiagram(table: Readonly<Record<string, Readonly<Record<string, string>>>>): string {
  const arrows = Object.entries(table).flatMap(([from, row]) => Object.entries(row).map(([event, to]) => `  ${from} --> ${to}: ${event}`));
  return ['```mermaid', 'stateDiagram-v2', ...arrows, '```'].join('\n');
}
