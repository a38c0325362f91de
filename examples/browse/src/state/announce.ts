import { type Signal, signal } from "@preact/signals";

/** What a screen reader says next. */
export const announcement: Signal<string> = signal("");

export function announce(text: string): void {
  // The same words once more are said only if they differ.
  announcement.value = announcement.peek() === text ? `${text}\u00a0` : text;
}
