import type pg from 'pg';
import type { DatabaseGuest } from './database-guest.js';

/** One transaction of a client, as the client knows it. */
interface Entry {
  readonly token: number;
  /** Wall clock, ms, when COMMIT was answered; undefined: it never was. */
  committedAtMs: number | undefined;
}

/** What a transaction writes besides its token: two columns and a second row, so that half a transaction would show. */
const noteOf = (token: number): string => `payment ${token} `.repeat(8 + (token % 60));

/**
 * Clients that commit transactions of two rows each, and remember when each commit was answered. Their memory is not in the
 * database: it is what the recovered one is measured by.
 */
export class LedgerClients {
  readonly #entries: Entry[] = [];
  #isStopped = false;
  #running: Promise<unknown> = Promise.resolve();

  get committedCount(): number {
    return this.#entries.filter(({ committedAtMs }) => committedAtMs !== undefined).length;
  }

  start(guest: DatabaseGuest, clientCount: number): void {
    this.#running = Promise.allSettled(Array.from({ length: clientCount }, () => this.#run(guest.connect())));
  }

  /** The transactions under way fail, or are answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  async #run(client: pg.Client): Promise<void> {
    await client.connect();
    while (!this.#isStopped) await this.#commitOne(client);
    await client.end();
  }

  async #commitOne(client: pg.Client): Promise<void> {
    const entry: Entry = { token: 2 * (this.#entries.length + 1), committedAtMs: undefined };
    this.#entries.push(entry);
    const note = noteOf(entry.token);
    await client.query('BEGIN');
    await client.query('INSERT INTO ledger VALUES ($1, $2, $2)', [entry.token, note]);
    await client.query('INSERT INTO ledger VALUES ($1, $2, $2)', [entry.token + 1, note]);
    await client.query('COMMIT');
    entry.committedAtMs = Date.now();
  }

  /** What is wrong with the ledger of a database recovered to an instant; `keptCount`: transactions that it holds. */
  async examine(guest: DatabaseGuest, atMs: number): Promise<{ readonly problems: readonly string[]; readonly keptCount: number; readonly committedBefore: number }> {
    const rows = await guest.query<{ token: string; note: string; echo: string }>('SELECT token, note, echo FROM ledger');
    const found = new Map(rows.map((row) => [Number(row.token), row]));
    const problems: string[] = [];
    let committedBefore = 0;
    for (const { token, committedAtMs } of this.#entries) {
      const halves = [found.get(token), found.get(token + 1)];
      const isThere = halves.filter((half) => half !== undefined).length;
      if (isThere === 1) problems.push(`transaction ${token} is torn: one of its two rows is missing`);
      const isMuted = halves.some((half) => half !== undefined && (half.note !== noteOf(token) || half.echo !== half.note));
      if (isMuted) problems.push(`transaction ${token} has other bytes`);
      const mustBe = committedAtMs !== undefined && committedAtMs < atMs;
      if (mustBe) committedBefore += 1;
      if (mustBe && isThere === 0) problems.push(`transaction ${token} was committed ${atMs - committedAtMs} ms before the checkpoint and is missing`);
    }
    const newest = this.#entries.at(-1)?.token ?? 0;
    for (const token of found.keys()) if (token > newest + 1) problems.push(`row ${token} was never written`);
    return { problems, keptCount: found.size / 2, committedBefore };
  }
}

/** pgbench moves money between three tables and writes each move down in a fourth, in one transaction: their sums are equal, or something is torn. */
export async function bankProblems(guest: DatabaseGuest): Promise<string[]> {
  const [sums] = await guest.query<{ accounts: string; tellers: string; branches: string; history: string; moves: string }>(`
    SELECT (SELECT sum(abalance) FROM pgbench_accounts) AS accounts, (SELECT sum(tbalance) FROM pgbench_tellers) AS tellers,
           (SELECT sum(bbalance) FROM pgbench_branches) AS branches, (SELECT coalesce(sum(delta), 0) FROM pgbench_history) AS history,
           (SELECT count(*) FROM pgbench_history) AS moves`);
  if (!sums) return ['the bank has no sums'];
  const { accounts, tellers, branches, history } = sums;
  return new Set([accounts, tellers, branches, history]).size === 1 ? [] : [`the bank does not add up: accounts ${accounts}, tellers ${tellers}, branches ${branches}, history ${history}`];
}
