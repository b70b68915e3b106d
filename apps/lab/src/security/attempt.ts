/** What came of an attempt. `isAllowed`: whoever tried has what he wanted. */
export interface Outcome {
  readonly isAllowed: boolean;
  /** For people: what was seen. */
  readonly seen: string;
}

/** Somebody tries something at a port of the lab. */
export interface Attempt {
  readonly who: string;
  /** As in `Port.name`. */
  readonly port: string;
  readonly tried: string;
  readonly isExpectedAllowed: boolean;
  readonly run: () => Promise<Outcome>;
}

export interface Result extends Omit<Attempt, 'run'>, Outcome {
  readonly isAsExpected: boolean;
}

const ATTEMPT_MS = 15_000;

export const allowed = (seen: string): Outcome => ({ isAllowed: true, seen });
export const refused = (seen: string): Outcome => ({ isAllowed: false, seen });

/** An attempt that neither succeeds nor is refused in time proves nothing: it counts as a difference. */
export async function carryOut({ run, ...attempt }: Attempt, timeMs = ATTEMPT_MS): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`neither let in nor refused within ${timeMs / 1000} s`)), timeMs);
  });
  try {
    const outcome = await Promise.race([run(), late]);
    return { ...attempt, ...outcome, isAsExpected: outcome.isAllowed === attempt.isExpectedAllowed };
  } catch (error) {
    return { ...attempt, isAllowed: false, seen: `the attempt itself failed: ${error instanceof Error ? error.message : String(error)}`, isAsExpected: false };
  } finally {
    clearTimeout(timer);
  }
}
