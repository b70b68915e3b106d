/** ISO 8601 in UTC, from a count of milliseconds: the pure ring has no Date. Years 1970 to 9999. */
export function timeText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const { year, month, day } = civilOf(Math.floor(seconds / 86_400));
  const two = (value: number): string => String(value).padStart(2, '0');
  const inDay = ((seconds % 86_400) + 86_400) % 86_400;
  return `${year}-${two(month)}-${two(day)}T${two(Math.floor(inDay / 3600))}:${two(Math.floor(inDay / 60) % 60)}Z`;
}

/** Howard Hinnant's civil_from_days: eras of 400 years that begin on 1 March. */
function civilOf(daysSince1970: number): { year: number; month: number; day: number } {
  const shifted = daysSince1970 + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthIndex = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day: dayOfYear - Math.floor((153 * monthIndex + 2) / 5) + 1 };
}
