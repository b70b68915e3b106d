import type { PlanKind, StepName } from '@tidemark/recovery';

export type Notes = Readonly<Record<string, unknown>>;

/** What a step may use while it runs. */
export interface StepContext<Input extends object> {
  readonly taskId: string;
  readonly initiatedBy: string;
  readonly input: Input;
  /** What earlier steps answered. */
  readonly notes: Notes;
  /** Aborts when this ZVM stops: waiting steps end, and go on after the next start. */
  readonly signal: AbortSignal;
  /** Adds to the notes before the step is done: durable when it resolves, unless `signal` has aborted, and there when the step is done again. Waits for the database as long as it takes. */
  readonly keep: (notes: Notes) => Promise<void>;
  /** How much of the step is done, 0 to 1. */
  readonly share: (part: number, text?: string) => Promise<void>;
}

/** Both may be repeated: a ZVM that was killed in a step runs it again. What `do` answers is kept for later steps. */
export interface StepHandler<Input extends object> {
  do(context: StepContext<Input>): Promise<Notes | void>;
  undo?(context: StepContext<Input>): Promise<void>;
}

/** A plan of @tidemark/recovery with what each of its steps does here. */
export interface OperationKind<Input extends object = object> {
  readonly kind: PlanKind;
  /** Name of the reference's TaskType. */
  readonly taskType: string | ((input: Input) => string);
  readonly steps: Readonly<Partial<Record<StepName, StepHandler<Input>>>>;
  /** Two exclusive operations of one VPG never run at the same time. */
  readonly isExclusive: boolean;
  /** The text of the finished task. */
  done(context: { readonly input: Input; readonly notes: Notes }): string;
}
