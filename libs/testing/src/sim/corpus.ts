/** Seeds that once found something; they run in every test. */
export const REGRESS_SEEDS: readonly number[] = [
  36, // an answer to the first open got lost: taken for lost data
  49, 67, 73, // sync reads filled the budget to the byte: the sync never ended
];
