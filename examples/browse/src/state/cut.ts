/**
 * At most `most` characters of a text that may have any number, with a sign that there are more. What is kept of it holds nothing
 * of the rest: engines make a part of a text by pointing into the whole.
 */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  // Not between the halves of a surrogate pair.
  const end = /[\ud800-\udbff]/.test(text.charAt(most - 1)) ? most - 1 : most;
  return JSON.parse(JSON.stringify(`${text.slice(0, end)}…`));
}
