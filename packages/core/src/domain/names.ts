/** The names of records in a sentence: the first five, and how many more there are. */
export function namesOf(records: readonly { readonly name: string }[]): string {
  const names = records.slice(0, 5).map(({ name }) => name);
  const more = records.length - names.length;
  return names.join(', ') + (more > 0 ? ` and ${more} more` : '');
}
