/**
 * Measures every contestant once per round, A B C, A B C ..., so that a slow hour of the machine hits all of them; the order turns
 * from round to round, so that nobody always comes after the same neighbour.
 * @template Sample
 * @param {{ rounds: number, contestants: readonly { name: string }[], measure: (contestant: any, round: number) => Promise<Sample> }} plan
 * @returns {Promise<Record<string, Sample[]>>} samples by contestant, sample i of round i
 */
export async function interleaved(plan) {
  const samples = Object.fromEntries(plan.contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < plan.rounds; round += 1) {
    for (let i = 0; i < plan.contestants.length; i += 1) {
      const contestant = plan.contestants[(i + round) % plan.contestants.length];
      samples[contestant.name].push(await plan.measure(contestant, round));
    }
  }
  return samples;
}
