/** Seeds that run in every test: those that once found something, and a spread. */
export const CORPUS: readonly number[] = [
  36, // an answer to the first open got lost: taken for lost data
  49, 67, 73, // sync reads filled the budget to the byte: the sync never ended
];
