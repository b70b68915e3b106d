import { describe, expect, it } from '@jest/globals';
import { ACTIVITY_STORIES, brokenBy } from './testing/activity-stories.js';

/** That these stories notice what they are for is shown by libs/testing/src/activity: each of six mutations is caught by one of them. */
describe('a crash between any two steps of the activity log', () => {
  it.each(ACTIVITY_STORIES)('$name', (story) => {
    expect(brokenBy(story)).toBeUndefined();
  });
});
