/** Runs the stories of the activity log over each of its mutations. Ends with 1 when one is missed. */
import { stdout } from 'node:process';
import { importMutated } from '../sim/planted-run.js';
import { ACTIVITY_MUTATIONS } from './mutations.js';

/** `activity-stories.ts`, not a part of the package's public surface: loaded with a bug in it. */
interface Stories {
  readonly ACTIVITY_STORIES: readonly { readonly name: string }[];
  brokenBy(story: { readonly name: string }): string | undefined;
}

const STORIES = new URL('../../../core/replication/dist/testing/activity-stories.js', import.meta.url);

let missedCount = 0;
for (const { name, breaks, ...mutation } of ACTIVITY_MUTATIONS) {
  const { ACTIVITY_STORIES, brokenBy } = (await importMutated(STORIES, name, mutation)) as Stories;
  const story = ACTIVITY_STORIES.find((each) => brokenBy(each) !== undefined);
  if (!story) missedCount += 1;
  stdout.write(`${story ? 'caught' : 'MISSED'} ${name} (${breaks})${story ? ` by: ${story.name}` : ''}\n`);
}
stdout.write(`${String(ACTIVITY_MUTATIONS.length - missedCount)} caught, ${String(missedCount)} missed\n`);
process.exitCode = missedCount === 0 ? 0 : 1;
